"""How much memory the prediction of a study takes at its worst, told by its header before any of it is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
from monai.bundle import ConfigParser

from rankseg_med.decode import Store
from rankseg_med.inference import DecodedGrid, Ensemble
from rankseg_med.studies import Grid
from rankseg_med.transforms import spacing_made_by

# Measured in fresh processes: native grids of 1,000 to 39 million voxels, model grids of 0.1 to 47 million, 3 to 105
# classes, 1 to 5 networks, 1 to 4 images. What is counted is 1.3 to 2.5 times what they took.
_BYTES_PER_NATIVE_VOXEL = 8
_BYTES_PER_MODEL_VOXEL = 20
_BYTES_PER_LEVEL = 2
_BYTES_PER_LOGIT = 4
_COPIES_OF_A_WINDOW = 4
_BYTES_PER_NETWORK = 80_000_000  # of slabs on their way
_BYTES_PER_DECODED_CLASS = 20_000_000  # of histograms and blocks


@dataclass(frozen=True)
class PredictionMemory:
    """What the memory of a study depends on besides its header.

    Attributes:
        spacing_mm: What images are resampled to, see `spacing_made_by`; None if they are not.
        num_classes: Background included.
        num_networks: Number of networks of an ensemble.
        roi_size: Size of a window; an axis of 0 or less stands for the whole volume's.
        sw_batch_size: Windows given to a network at a time.
        axis: Along which slabs follow each other.
        grid: What is decoded, see `SegmentationModel`.
        ensemble: See `SegmentationModel`.
        store: On ``"disk"`` probabilities are in memory only as long as there is room.
    """

    spacing_mm: tuple[float, ...] | None = None
    num_classes: int = 2
    num_networks: int = 1
    roi_size: tuple[int, ...] = (0, 0, 0)
    sw_batch_size: int = 1
    axis: int = 0
    grid: DecodedGrid = "native"
    ensemble: Ensemble = "mean"
    store: Store = "memory"

    @classmethod
    def from_config(cls, config: ConfigParser, num_networks: int) -> PredictionMemory:
        """What an inference job's config says; no network is built."""
        inferer = config.get_parsed_content("inferer")
        return cls(
            spacing_made_by(config.get_parsed_content("preprocessing")),
            config.get_parsed_content("num_classes"),
            num_networks,
            inferer.roi_size,
            inferer.sw_batch_size,
            inferer.axis,
            config.get_parsed_content("grid"),
            config.get_parsed_content("ensemble"),
            config.get_parsed_content("store"),
        )

    def needed(self, grid: Grid, channels: int) -> int:
        """Bytes at the worst moment; what the network itself computes with, and its weights, are not known here.

        Args:
            grid: Grid of the image.
            channels: Images of the study.
        """
        seen = _shape_seen(grid, self.spacing_mm)
        native, model = math.prod(grid.shape), math.prod(seen)
        images = (_BYTES_PER_NATIVE_VOXEL * native + _BYTES_PER_MODEL_VOXEL * model) * channels

        roi = self._window(seen)
        windows = _COPIES_OF_A_WINDOW * self.sw_batch_size * math.prod(roi)
        band = self.num_networks * roi[self.axis] * (model // seen[self.axis])
        logits = _BYTES_PER_LOGIT * self.num_classes * (windows + band)

        sessions = self.num_networks if self.ensemble == "decode" else 1
        decoded = (native if self.grid == "native" else model) if self.store == "memory" else 0
        decoding = sessions * self.num_classes * (_BYTES_PER_LEVEL * decoded + _BYTES_PER_DECODED_CLASS)
        return images + logits + self.num_networks * _BYTES_PER_NETWORK + decoding

    def _window(self, seen: Sequence[int]) -> list[int]:
        """Shape of a window; that of a 2-D network is one slice across the axis."""
        roi = list(self.roi_size)
        if len(roi) < len(seen):
            roi.insert(self.axis % len(seen), 1)
        return [size if window <= 0 else window for window, size in zip(roi, seen, strict=True)]


def _shape_seen(grid: Grid, spacing_mm: Sequence[float] | None) -> list[int]:
    """Shape of the volume that networks see, its axes turned to RAS first, as the shipped preprocessing does."""
    order = nib.io_orientation(grid.affine)[:, 0].argsort()
    shape = [grid.shape[axis] for axis in order]
    if spacing_mm is None:
        return shape
    wanted_mm = [*spacing_mm, *[spacing_mm[-1]] * 3][:3]
    steps_mm = [grid.spacing_mm[axis] for axis in order]
    return [
        size if wanted <= 0 else round((size - 1) * step / wanted) + 1
        for size, step, wanted in zip(shape, steps_mm, wanted_mm, strict=True)
    ]
