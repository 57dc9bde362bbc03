"""What is tuned for: which structures the channels make, and how they are scored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor

from rankseg_med.calibration import BinnedVoxels
from rankseg_med.decode import Metric, Regions
from rankseg_med.errors import InputError
from rankseg_med.metrics import EmptyPolicy, EmptyRule, Region, Scoring, score_label_maps
from rankseg_med.studies import NnunetLabels

SCORES: tuple[Metric, ...] = ("dice", "iou")
"""What every label map is scored by, in this order."""
_NAMES_OF_METRICS = ("dice", "jaccard")


@dataclass(frozen=True)
class Task:
    """What is tuned for.

    Attributes:
        structures: What the channels are, and which structures they make.
        score: What settings are chosen by: its mean over structures, of a case.
        empty_score: Score, in [0, 1]: what a structure scores that is neither there nor found.

    Raises:
        ValueError: Another score, or structures that are neither nested nor disjoint, or not of these channels.
    """

    structures: NnunetLabels
    score: Metric = "dice"
    empty_score: float = 1.0

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise InputError(f"score must be {' or '.join(SCORES)}, got {self.score!r}")
        if not 0 <= self.empty_score <= 1:
            raise InputError(f"empty_score must lie in [0, 1], got {self.empty_score}")
        if not self.independent:
            Regions.of(self.structures.channels, self.regions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the structures."""
        return tuple(self.structures.names)

    @property
    def regions(self) -> tuple[tuple[int, ...], ...]:
        """Label set of each structure."""
        return tuple(self.structures.names.values())

    @property
    def labels(self) -> list[int]:
        """All labels of structures."""
        return sorted({label for region in self.regions for label in region})

    @property
    def independent(self) -> bool:
        """Whether channels are regions by sigmoid."""
        return self.structures.regions is not None

    @property
    def decoder_regions(self) -> tuple[tuple[int, ...], ...] | None:
        """What a decoder is told of them; None where it knows."""
        classes = tuple((label,) for label in range(1, self.structures.channels))
        return None if self.independent or self.regions == classes else self.regions

    def count(self, probabilities: Float[Tensor, "channels X Y Z"], reference: UInt8[Tensor, "X Y Z"]) -> BinnedVoxels:
        """Voxels of a case by bin of their probability."""
        if self.independent:
            masks = [torch.isin(reference, torch.tensor(labels, dtype=torch.uint8)) for labels in self.regions]
            return BinnedVoxels.of_channels(probabilities, torch.stack(masks))
        return BinnedVoxels.of_classes(probabilities, reference, self.regions)

    def region_probabilities(self, probabilities: Float[Tensor, "channels X Y Z"]) -> list[Float[Tensor, "X Y Z"]]:
        """Probabilities of each structure; views where it is one channel."""
        if self.independent:
            return list(probabilities)
        return [
            probabilities[labels[0]] if len(labels) == 1 else probabilities[list(labels)].sum(0)
            for labels in self.regions
        ]

    def label_map(self, decoded: UInt8[Tensor, "..."]) -> UInt8[Tensor, "X Y Z"]:
        """Label map of what decoders return: itself, or masks of channels."""
        return decoded if self.structures.regions is None else self.structures.regions.label_map(decoded)

    def scores(
        self, prediction: UInt8[np.ndarray, "X Y Z"], reference: UInt8[np.ndarray, "X Y Z"]
    ) -> Float64[np.ndarray, "scores regions"]:
        """Dice and IoU of each structure; both label maps may be cut to what surrounds their structures."""
        found = score_label_maps(prediction, reference, self._scored, (1.0, 1.0, 1.0), self._scoring)
        return np.array([[region.values[metric] for region in found] for metric in _NAMES_OF_METRICS])

    def masks(self, label_map: UInt8[np.ndarray, "X Y Z"]) -> list[Bool[np.ndarray, "X Y Z"]]:
        """The mask of each structure."""
        return [region.mask(label_map) for region in self._scored]

    @cached_property
    def _scored(self) -> tuple[Region, ...]:
        return tuple(Region(name, labels) for name, labels in self.structures.names.items())

    @cached_property
    def _scoring(self) -> Scoring:
        return Scoring(_NAMES_OF_METRICS, empty_policy=EmptyPolicy(overlap=EmptyRule(self.empty_score, 0.0, 0.0)))
