"""A model that nnU-Net trained, with its own preprocessing and windows: image files in, label map out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.calibration import Calibration
from rankseg_med.decode import (
    ArgmaxDecoder,
    AtHalfDecoder,
    Decoded,
    DecodeSession,
    RankSEGDecoder,
    SlabSession,
    Store,
    finalize_ensemble,
    for_independent_channels,
)
from rankseg_med.inference import Slab, Waiting, volume_of
from rankseg_med.nnunet.checkpoint import Checkpoint
from rankseg_med.nnunet.errors import NnunetError
from rankseg_med.nnunet.export import Export, Exporter, axis_of
from rankseg_med.nnunet.folder import Fold, ModelFolder
from rankseg_med.nnunet.library import Library, check_installed
from rankseg_med.nnunet.plans import Plans
from rankseg_med.nnunet.preprocessing import Preprocessed, preprocess
from rankseg_med.nnunet.windows import Windows
from rankseg_med.studies import content_digest

FoldEnsemble = Literal["logits", "mean", "decode"]


@dataclass(frozen=True)
class NnunetModel:
    """The networks of a trained model, from image files to label map; made by `load`.

    The three steps (`preprocess`, `predict`, `decode`) may run in different threads, each for another study.

    Attributes:
        windows: Takes the networks over a volume.
        exporter: Takes logits to the file's grid.
        decoder: Probabilities to label map; for a model of regions one that takes independent channels.
        ensemble: What several folds are decoded as. ``"logits"``: one network with their mean logits, as nnU-Net does.
            ``"mean"``: the mean of their probabilities, at two bytes a voxel of the networks' grid and class for each
            fold. ``"decode"``: for the mean over folds of the expected score (`decode_ensemble`), at a session's
            memory for each.
        calibration: Calibration of what is decoded, on the file's grid.
        store: Place where probabilities wait: ``"memory"``, or ``"disk"`` for volumes that memory does not hold.
        store_folder: Folder of the temporary file on disk; by default the system's.
    """

    windows: Windows
    exporter: Exporter
    decoder: RankSEGDecoder | ArgmaxDecoder | AtHalfDecoder
    ensemble: FoldEnsemble = "logits"
    calibration: Calibration | None = None
    store: Store = "memory"
    store_folder: Path | None = None

    def __post_init__(self) -> None:
        labels = self.plans.labels
        if self.decoder.exclusive != (labels.regions is None):
            raise NnunetError(
                f"a model of {'regions' if labels.regions else 'exclusive classes'} needs a decoder with mode "
                f"'{'multilabel' if labels.regions else 'multiclass'}', got {self.decoder!r}"
            )
        if self.ensemble not in get_args(FoldEnsemble):
            raise NnunetError(f"ensemble must be one of {', '.join(get_args(FoldEnsemble))}, got {self.ensemble!r}")
        if self.ensemble == "decode" and (not self.decoder.exclusive or not isinstance(self.decoder, RankSEGDecoder)):
            raise NnunetError(
                "ensemble 'decode' needs exclusive classes and a decoder for dice or iou, got "
                f"{self.decoder!r}; use ensemble 'logits' or 'mean'"
            )
        if self.calibration is not None:
            found = self.calibration.num_classes, self.calibration.independent
            if found != (labels.channels, not self.decoder.exclusive):
                raise NnunetError(
                    f"a calibration must be of the model's {labels.channels} "
                    f"{'regions' if labels.regions else 'exclusive classes'}, got {self.calibration!r}"
                )

    @classmethod
    def load(
        cls,
        folder: Path | ModelFolder,
        decoder: RankSEGDecoder | ArgmaxDecoder,
        *,
        folds: Sequence[Fold] | None = None,
        configuration: str | None = None,
        checkpoint: str = "checkpoint_final.pth",
        device: torch.device | str = "cpu",
        mirroring: bool = True,
        step_size: float = 0.5,
        export: Export = "slabs",
        sha256: Sequence[str] | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> NnunetModel:
        """Load a trained model; nothing in its files is run that is not nnU-Net's own.

        Args:
            folder: Model's folder, or its data set's; or what `ModelFolder.find` made of it and of the next three.
            decoder: As for exclusive classes; a model of regions decodes each channel for the same metric, or at half
                where this is argmax.
            folds: Folds that are used; see `ModelFolder.find`.
            configuration: Name of the configuration, such as ``"3d_fullres"``; by default the only one there is.
            checkpoint: Name of the weights' file in a fold's folder.
            device: Device of the networks.
            mirroring: Whether to average over mirrored windows, where the networks were trained for it.
            step_size: Step from window to window, as a share of a window, in (0, 1].
            export: How logits get to the file's grid: ``"slabs"`` or ``"exact"``, see `Exporter`.
            sha256: Hash of each of the folder's `files`, as it must be; by default any.
            settings: Further attributes, such as ``ensemble``.

        Raises:
            NnunetError: nnU-Net is not installed, or the model is not there or cannot be run here; the message says
                why, and names what plans name that is not allowed.
            CheckpointError: A checkpoint cannot be read, does not fit its plans, or has another hash.
            StudyError: ``dataset.json`` or ``plans.json`` cannot be read.
        """
        check_installed()
        if not isinstance(folder, ModelFolder):
            folder = ModelFolder.find(folder, folds, configuration, checkpoint)
        hashes: Sequence[str | None] = [None] * len(folder.files) if sha256 is None else sha256
        checked = dict(zip(folder.files, hashes, strict=True))
        checkpoints = [Checkpoint.read(path, checked.pop(path)) for path in folder.checkpoints]
        for path, wanted in checked.items():
            if wanted is not None and content_digest(path) != wanted:
                raise NnunetError(f"{path}: is not the file that it was when the run began; run it again")
        plans = read_plans(folder, checkpoints[0])
        library = Library(plans)
        windows = Windows(library, checkpoints, device=device, mirroring=mirroring, step_size=step_size)
        own = for_independent_channels(decoder) if plans.labels.regions else decoder
        return cls(windows, Exporter(plans, library, export), own, **settings)

    @property
    def plans(self) -> Plans:
        """What the model expects: labels, number of images."""
        return self.exporter.plans

    def __call__(self, image: Path | Sequence[Path]) -> Decoded:
        """Label map ``(X, Y, Z)`` uint8 of one study on the voxel grid of its file, and the decisions behind it.

        Args:
            image: An image, or several on one grid, a channel each.

        Raises:
            StudyError: The images cannot be used.
            InferenceError: The network returns NaN or infinite logits.
        """
        return self.decode(self.predict(self.preprocess(image)))

    def preprocess(self, image: Path | Sequence[Path]) -> Preprocessed:
        """The images as networks take them."""
        return preprocess([image] if isinstance(image, Path) else image, self.plans, self.exporter.library)

    def predict(self, image: Preprocessed) -> tuple[SlabSession, ...]:
        """Run the networks over preprocessed images; what waits to be decoded, for each network that is by itself."""
        axis, shape = axis_of(image.placement), image.placement.shape
        count = self.windows.num_folds if self.ensemble == "decode" else 1
        waiting = Waiting(self.decoder, self.calibration, self.store, self.store_folder)
        streams = ((axis, slabs) for slabs in self._streams(image))
        return waiting.sessions(streams, self.plans.labels.channels, shape, count=count)

    def decode(self, predicted: Sequence[SlabSession]) -> Decoded:
        """Label map on the file's grid and the decisions behind it.

        Of regions, decisions speak of the masks as decoded, before they are painted over each other.
        """
        if self.ensemble == "decode":
            decoded = finalize_ensemble([s for s in predicted if isinstance(s, DecodeSession)])
        else:
            decoded = predicted[0].finalize()
        if (regions := self.plans.labels.regions) is not None:
            decoded = regions.as_labels(decoded)
        return replace(decoded, label_map=decoded.label_map.permute(2, 1, 0))

    def probabilities(self, image: Path | Sequence[Path]) -> Float[Tensor, "channels X Y Z"]:
        """Mean probabilities, or those of the mean logits, all at once and without ``calibration``.

        Args:
            image: An image, or several on one grid, a channel each.

        Returns:
            ``(channels, X, Y, Z)`` float32 in main memory, on the voxel grid of the file.
        """
        preprocessed = self.preprocess(image)
        placement = preprocessed.placement
        as_one = self if self.ensemble == "logits" else replace(self, ensemble="mean")
        (slabs,) = as_one._streams(preprocessed)
        return volume_of(slabs, axis_of(placement), placement.shape).permute(0, 3, 2, 1)

    def _streams(self, image: Preprocessed) -> Iterator[Iterator[Slab]]:
        """Slabs of what is decoded: of all folds as one, or of each, one after the other."""
        if self.ensemble == "logits":
            yield self.exporter.probabilities(self.windows.mean_logits(image.image), image.placement)
            return
        each = (
            self.exporter.probabilities(self.windows.logits(image.image, fold), image.placement)
            for fold in range(self.windows.num_folds)
        )
        if self.ensemble == "decode":
            yield from each
        else:
            yield _mean(list(each))


def read_plans(folder: ModelFolder, checkpoint: Checkpoint | None = None) -> Plans:
    """Plans of the configuration that a model's networks were trained with.

    Args:
        folder: The model.
        checkpoint: Its first network, where that was read already.

    Raises:
        NnunetError: The configuration is another than the one asked for, or as `Plans.read`.
    """
    trained = (checkpoint or Checkpoint.read(folder.checkpoints[0])).configuration
    if folder.configuration not in (None, trained):
        raise NnunetError(f"{folder.path}: must be of configuration {folder.configuration}, is of {trained}")
    return Plans.read(folder.path, trained)


def _mean(streams: Sequence[Iterator[Slab]]) -> Iterator[Slab]:
    """Mean probabilities of networks whose slabs lie alike."""
    for slabs in zip(*streams, strict=True):
        total = sum((slab.probabilities for slab in slabs[1:]), slabs[0].probabilities)
        yield replace(slabs[0], probabilities=total / len(slabs))
