"""Regions: unions of classes, may be nested, as what is scored, and as what a network's sigmoid channels stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from rankseg_med.decode.decision import Decoded
from rankseg_med.errors import InputError


@dataclass(frozen=True)
class Regions:
    """The label sets whose scores are averaged, such as ``[[1, 2], [2]]`` for kidney with tumour, and tumour.

    Attributes:
        num_classes: Classes of the probability volume, background included.
        labels: For each region the labels that make it up.
    """

    num_classes: int
    labels: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, num_classes: int, regions: Sequence[Sequence[int]] | None) -> Regions:
        """Given regions, or every foreground class for itself.

        Raises:
            ValueError: A region is empty, repeats a label, or names the background or a class that is not there; or
                two regions overlap without one holding the other.
        """
        if regions is None:
            return cls(num_classes, tuple((label,) for label in range(1, num_classes)))
        labels = tuple(tuple(region) for region in regions)
        for region in labels:
            if not region or len(set(region)) < len(region) or not all(0 < label < num_classes for label in region):
                raise ValueError(
                    f"a region is a set of foreground labels from 1 to {num_classes - 1}, got {list(region)}"
                )
        for first in labels:
            for second in labels:
                shared = set(first) & set(second)
                if shared and shared not in (set(first), set(second)):
                    raise ValueError(
                        f"regions must be nested or disjoint, got {list(first)} and {list(second)}; "
                        "a voxel could not be in one without a part of the other"
                    )
        if not labels:
            raise ValueError("at least one region is needed, got none")
        return cls(num_classes, labels)

    @property
    def are_classes(self) -> bool:
        """Whether every region is one class and every foreground class a region."""
        return self.labels == tuple((label,) for label in range(1, self.num_classes))

    def membership(self, device: torch.device) -> Bool[Tensor, "regions classes"]:
        """Which region holds which label."""
        rows = [[label in region for label in range(self.num_classes)] for region in self.labels]
        return torch.tensor(rows, device=device)

    def probabilities(self, classes: Float[Tensor, "classes *voxels"]) -> Float[Tensor, "regions *voxels"]:
        """Probability of each region: the sum over its labels."""
        if self.are_classes:
            return classes[1:]
        # Rounded classes may add up to more than 1.
        return torch.stack([classes[list(region)].sum(0) for region in self.labels]).clamp_(max=1)


@dataclass(frozen=True)
class RegionChannels:
    """The regions of a network's sigmoid channels (BraTS, KiTS), and the order in which their masks make a label map.

    Attributes:
        regions: The label set of each channel, such as ``((1, 2, 3), (2, 3), (3,))`` for whole tumour, core, enhancing.
        painted: Channel and label, in painting order; a later one covers an earlier one.
    """

    regions: tuple[tuple[int, ...], ...]
    painted: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, regions: Iterable[Sequence[int]]) -> RegionChannels:
        """Painted from large to small, each with the one label that no smaller region in it has.

        Raises:
            InputError: A region has none or several such labels, as ``(1, 2, 3)`` beside ``(3,)``: a voxel in the first
                only may be of label 1 or 2.
        """
        sets = [frozenset(region) for region in regions]
        painted: list[tuple[int, int]] = []
        for channel in sorted(range(len(sets)), key=lambda channel: -len(sets[channel])):
            inner = frozenset[int]().union(*(other for other in sets if other < sets[channel]))
            own = sets[channel] - inner
            if len(own) != 1 or not all(1 <= label <= 255 for label in own) or sets.count(sets[channel]) > 1:
                raise InputError(
                    "every region must have exactly one label, 1 to 255, that no region within it has, as in "
                    f"whole=1+2+3,core=2+3,enhancing=3; {sorted(sets[channel])} has {sorted(own)}"
                )
            painted += [(channel, label) for label in own]
        return cls(tuple(tuple(sorted(region)) for region in sets), tuple(painted))

    def label_map(self, masks: UInt8[Tensor, "channels *spatial"]) -> UInt8[Tensor, "*spatial"]:
        """Label map of the channels' masks of 0 and 1; no channel at all is background."""
        labels = torch.zeros_like(masks[0])
        for channel, label in self.painted:
            labels.masked_fill_(masks[channel].bool(), label)
        return labels

    def as_labels(self, decoded: Decoded) -> Decoded:
        """Label map of decoded masks; decisions speak of these as they are, before they are painted over each other."""
        each = zip(decoded.decisions, self.regions, strict=False)
        decisions = tuple(replace(decision, labels=labels) for decision, labels in each)
        return Decoded(self.label_map(decoded.label_map), decisions)
