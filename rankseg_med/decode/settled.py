"""Voxels whose label is beyond dispute: found by comparisons alone, painted and counted at once."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Integer, UInt8
from torch import Tensor

from rankseg_med.decode.blocks import Places, at_least, compared, places, take
from rankseg_med.decode.kept import KeptVoxels, LevelPlaces
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.rules import FirstRound


class FoundSettled(NamedTuple):
    """Settled voxels of a part of the volume: where they are counted, and the sum of their background probabilities."""

    counted: LevelPlaces
    background: Float64[Tensor, ""]


class Settled:
    """Takes the voxels that one class alone could want and is sure of: every rule gives them to it.

    Args:
        classes: Plain classes, each a region.
        sure: ``(regions,)`` lowest probability of each class that leaves no doubt, if no other class reaches its limit.
        label_map: Flat label map on which they are painted.

    Attributes:
        kept: What each class keeps of the voxels found so far.
        background: Sum of their background probabilities.
    """

    def __init__(self, classes: Regions, sure: Float[Tensor, " regions"], label_map: UInt8[Tensor, " voxels"]) -> None:
        self.sure = sure
        self.kept = KeptVoxels.none(classes, label_map.device)
        self.background = torch.zeros((), dtype=torch.float64, device=label_map.device)
        self._classes = classes
        self._label_map = label_map
        self._labels = torch.arange(1, len(sure) + 1, dtype=torch.uint8, device=label_map.device)[:, None]

    @property
    def first_round(self) -> FirstRound:
        """What exactly one class keeps of them: everything, and background nothing."""
        volume, nothing = self.kept.volume, torch.zeros_like(self.kept.mass[:1])
        kept, mass = torch.cat([nothing, volume]).long(), torch.cat([nothing, self.kept.mass])
        return FirstRound(int(volume.sum()), self.background, kept, mass)

    def labels(self, probabilities: Float[Tensor, "classes n"], reaching: Integer[Tensor, " n"]) -> UInt8[Tensor, " n"]:
        """Labels of settled voxels, 0 of others; ``reaching``, how many classes reach their limits."""
        alone = compared(operator.eq, reaching, 1).view(torch.uint8)
        # Where one class alone reaches its limit no other is sure, and the sum is of one label.
        are_sure = at_least(probabilities[1:], self.sure).view(torch.uint8)
        return (are_sure * self._labels).sum(0, dtype=torch.uint8) * alone

    def paint(
        self, where: Places, probabilities: Float[Tensor, "classes n"], labels: UInt8[Tensor, " n"]
    ) -> FoundSettled:
        """Paint some voxels, those that are not settled as background; in any thread. The result must be added."""
        where.paint(self._label_map, labels)
        index = places(compared(operator.ne, labels, 0))
        settled = take(probabilities, index)
        counted = LevelPlaces.of(self._classes, settled[1:], torch.index_select(labels, 0, index))
        return FoundSettled(counted, settled[0].sum(dtype=torch.float64))

    def add(self, found: Iterable[FoundSettled]) -> None:
        """Add what was painted, in the volume's order."""
        for counted, background in found:
            self.kept.add_places(counted)
            self.background += background
