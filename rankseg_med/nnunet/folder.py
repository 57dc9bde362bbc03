"""What a trained model of nnU-Net v2 consists of on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from rankseg_med.nnunet.errors import NnunetError

Fold: TypeAlias = int | Literal["all"]

_NUMBERED = re.compile(r"fold_(\d+)")


@dataclass(frozen=True)
class ModelFolder:
    """A folder as nnU-Net's training leaves it, and the networks of it that are used.

    Attributes:
        path: Folder that holds ``dataset.json``, ``plans.json`` and a folder per fold.
        checkpoints: The weights, one file for each fold.
        configuration: Name of the plans' configuration that they must be of; None for whatever they are of.
    """

    path: Path
    checkpoints: tuple[Path, ...]
    configuration: str | None = None

    @classmethod
    def find(
        cls,
        folder: Path,
        folds: Sequence[Fold] | None = None,
        configuration: str | None = None,
        checkpoint: str = "checkpoint_final.pth",
    ) -> ModelFolder:
        """Look for a trained model.

        Args:
            folder: The model's folder, such as ``nnUNetTrainer__nnUNetPlans__3d_fullres``, or the data set's folder
                around it.
            folds: Folds whose networks are used: numbers, or nnU-Net's ``"all"``, the one network that was trained on
                all cases. By default every numbered fold that has the checkpoint, or where there is none, ``"all"``.
            configuration: Name of the configuration, such as ``"3d_fullres"``, where a data set's folder has several.
            checkpoint: Name of the weights' file in a fold's folder.

        Raises:
            NnunetError: There is no such model, fold or checkpoint, or several models fit; the message names what is
                there.
        """
        path = _model_in(folder, configuration)
        there = {_fold_of(file.parent): file for file in sorted(path.glob(f"fold_*/{checkpoint}"))}
        there.pop(None, None)
        if folds is None:
            folds = sorted(fold for fold in there if isinstance(fold, int)) or ["all"]
        missing = [str(fold) for fold in folds if fold not in there]
        if missing or len(set(folds)) < max(1, len(folds)):
            raise NnunetError(
                f"{path}: folds must be different ones that have a {checkpoint} "
                f"({', '.join(map(str, there)) or 'none has'}), got {', '.join(map(str, folds)) or 'none'}; 'all' is "
                "the one network that nnU-Net trains on all cases"
            )
        return cls(path, tuple(there[fold] for fold in folds), configuration)

    @property
    def num_images(self) -> int:
        """Images of a study, by ``dataset.json``.

        Raises:
            NnunetError: It cannot be read, or does not say.
        """
        path = self.path / "dataset.json"
        try:
            content = json.loads(path.read_bytes())
            return len(content.get("channel_names") or content["modality"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NnunetError(f"{path}: must say the images of a study (channel_names), got {error!r}") from error

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that results depend on."""
        return (self.path / "dataset.json", self.path / "plans.json", *self.checkpoints)


def _fold_of(folder: Path) -> Fold | None:
    if folder.name == "fold_all":
        return "all"
    match = _NUMBERED.fullmatch(folder.name)
    return int(match[1]) if match else None


def _model_in(folder: Path, configuration: str | None) -> Path:
    if (folder / "plans.json").exists():
        return folder
    models = sorted(path.parent for path in folder.glob("*__*__*/plans.json"))
    # What follows the last "__" is the configuration's name.
    fitting = [path for path in models if configuration in (None, path.name.rpartition("__")[2])]
    if len(fitting) == 1:
        return fitting[0]
    asked = "" if configuration is None else f" of configuration {configuration}"
    if not models:
        raise NnunetError(
            f"{folder}: must be a model of nnU-Net v2, with plans.json, dataset.json and fold_0, ..., as its training "
            "leaves it, got a folder without plans.json"
        )
    raise NnunetError(
        f"{folder}: must hold one model{asked}, got {', '.join(path.name for path in models)}; give the folder of one"
    )
