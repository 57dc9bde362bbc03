"""What the networks behind the comparison of decoders left on disk: written by accuracy_networks.py, read here.

| file under ``WORK/<dataset>/`` | content |
| --- | --- |
| ``references/<case>.npz`` | ``labels`` (uint8) and ``spacing_mm``, once for all networks |
| ``<network>/network.json`` | a `NetworkRecord` |
| ``<network>/weights.safetensors`` | the last weights |
| ``<network>/probabilities/<case>.npz`` | ``levels`` (uint16) of 65,535, foreground classes only |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from rankseg_med.studies import atomic_write

_HIGHEST_LEVEL = 65_535


class NetworkRecord(BaseModel):
    """What was trained, on what, and how well its argmax does.

    Attributes:
        dataset: Folder of the data set.
        name: Unique within the data set.
        loss: ``CE`` or ``DiceCE``.
        seed: Random seed of weights, batches and augmentation.
        fold: Test fold; None where there is one split only.
        training: Case ids that weights were fitted to.
        tuning: Case ids for choices after training.
        test: Case ids for scores.
        without_structure: Ids of parts of images that hold nothing to find.
        iterations: That were run.
        training_seconds: Seconds of these iterations.
        tuning_dice: Argmax Dice of every tuning case, in points, mean over foreground classes.
        test_dice: The same of every test case.
        versions: Versions of the libraries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    name: str
    loss: str
    seed: int
    fold: int | None
    training: tuple[str, ...]
    tuning: tuple[str, ...]
    test: tuple[str, ...]
    without_structure: tuple[str, ...]
    iterations: int
    training_seconds: float
    tuning_dice: dict[str, float]
    test_dice: dict[str, float]
    versions: dict[str, str]


@dataclass(frozen=True)
class StoredNetwork:
    """A network's record, probabilities and references.

    Attributes:
        folder: Folder where it is stored.
        record: What it is.
    """

    folder: Path
    record: NetworkRecord

    def probabilities(self, case_id: str) -> Float[Tensor, "classes X Y Z"]:
        """Probabilities of a case on its own grid; background is what the foreground classes leave."""
        return read_probabilities(self.folder, case_id)

    def reference(self, case_id: str) -> UInt8[Tensor, "X Y Z"]:
        """Reference label map of a case."""
        with np.load(_reference_path(self.folder.parent, case_id), allow_pickle=False) as arrays:
            return torch.from_numpy(arrays["labels"])

    def spacing_mm(self, case_id: str) -> tuple[float, float, float]:
        """Edge lengths of a case's voxels."""
        with np.load(_reference_path(self.folder.parent, case_id), allow_pickle=False) as arrays:
            x, y, z = arrays["spacing_mm"].tolist()
        return x, y, z


def stored(work: Path, dataset: str) -> list[StoredNetwork]:
    """The finished networks of a data set, by name."""
    records = sorted((work / dataset).glob("[!.]*/network.json"))
    return [StoredNetwork(path.parent, NetworkRecord.model_validate_json(path.read_text())) for path in records]


def unfinished(folder: Path) -> Path:
    """The name of a network's folder until it is complete."""
    return folder.with_name(f".{folder.name}")


def write_probabilities(folder: Path, case_id: str, foreground: Float[Tensor, "foreground X Y Z"]) -> None:
    """Store the foreground probabilities of a case."""
    levels = (foreground.double() * _HIGHEST_LEVEL).round().numpy().astype(np.uint16)
    with atomic_write(_probabilities_path(folder, case_id)) as temporary:
        np.savez_compressed(temporary, levels=levels)


def read_probabilities(folder: Path, case_id: str) -> Float[Tensor, "classes X Y Z"]:
    """Probabilities of a case as a network's folder has them."""
    with np.load(_probabilities_path(folder, case_id), allow_pickle=False) as arrays:
        foreground = torch.from_numpy(arrays["levels"].astype(np.int32))
    # Each class was rounded by itself: their sum may exceed the whole by a level.
    background = (_HIGHEST_LEVEL - foreground.sum(0, keepdim=True)).clamp(min=0)
    return torch.cat([background, foreground]).float() / _HIGHEST_LEVEL


def write_reference(
    dataset_folder: Path, case_id: str, labels: UInt8[Tensor, "X Y Z"], spacing_mm: tuple[float, float, float]
) -> None:
    """Store the reference of a case once for all networks."""
    path = _reference_path(dataset_folder, case_id)
    if not path.exists():
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, labels=labels.numpy(), spacing_mm=np.array(spacing_mm))


def _probabilities_path(folder: Path, case_id: str) -> Path:
    return folder / "probabilities" / f"{case_id}.npz"


def _reference_path(dataset_folder: Path, case_id: str) -> Path:
    return dataset_folder / "references" / f"{case_id}.npz"
