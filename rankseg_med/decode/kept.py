"""What a label map keeps of each region, and what it scores in expectation."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int, Int64, UInt8
from torch import Tensor

from rankseg_med.decode.blocks import compared, places
from rankseg_med.decode.histogram import Distribution
from rankseg_med.decode.levels import LEVELS, level_of
from rankseg_med.decode.objective import Objective
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.rules import membership_of


@dataclass(frozen=True)
class KeptVoxels:
    """The voxels of each region of a label map. What parts of a volume keep adds up to what all of it keeps.

    Attributes:
        counts: ``(regions, LEVELS)`` int64, how many have which level of the region's probability.
        mass: ``(regions,)`` float64, sum of their unrounded probabilities.
    """

    counts: Int64[Tensor, "regions levels"]
    mass: Float64[Tensor, " regions"]

    @classmethod
    def none(cls, regions: Regions, device: torch.device) -> KeptVoxels:
        """What an empty label map keeps."""
        counts = torch.zeros((len(regions.labels), LEVELS), dtype=torch.int64, device=device)
        return cls(counts, torch.zeros(len(counts), dtype=torch.float64, device=device))

    @property
    def volume(self) -> Float64[Tensor, " regions"]:
        """Number of voxels of each region."""
        return self.counts.sum(1).double()

    def __add__(self, other: KeptVoxels) -> KeptVoxels:
        """What both keep together."""
        return KeptVoxels(self.counts + other.counts, self.mass + other.mass)

    def add(self, regions: Regions, probabilities: Float[Tensor, "regions n"], labels: UInt8[Tensor, " n"]) -> None:
        """Add voxels with their region probabilities and labels, in place."""
        self.add_places(LevelPlaces.of(regions, probabilities, labels))

    def add_places(self, voxels: LevelPlaces, each: int = 1) -> None:
        """Add voxels, ``each`` times, in place."""
        self.counts.view(-1).index_add_(0, voxels.in_counts, self.counts.new_full(voxels.in_counts.shape, each))
        self.mass.add_(voxels.mass, alpha=each)

    def expected_scores(self, distributions: Sequence[Distribution], objectives: Sequence[Objective]) -> list[float]:
        """Expected score of each region, from the distribution of all voxels."""
        return [
            objective.score_of_mask(distribution, counts, mass)
            for distribution, counts, mass, objective in zip(
                distributions, self.counts.cpu(), self.mass.tolist(), objectives, strict=True
            )
        ]


class LevelPlaces(NamedTuple):
    """Where some voxels of a label map are counted.

    Attributes:
        in_counts: Places in the flat counts, one for each voxel and region that it lies in.
        mass: ``(regions,)`` float64, sum of the unrounded probabilities in each region.
    """

    in_counts: Int[Tensor, " places"]
    mass: Float64[Tensor, " regions"]

    @classmethod
    def of(
        cls, regions: Regions, probabilities: Float[Tensor, "regions n"], labels: UInt8[Tensor, " n"]
    ) -> LevelPlaces:
        """Places of voxels with their region probabilities and labels; background lies in no region."""
        if regions.are_classes:
            return cls._of_classes(probabilities, labels)
        in_counts, mass = [], []
        for region, inside in enumerate(membership_of(regions, labels)):
            kept = torch.index_select(probabilities[region], 0, places(inside))
            in_counts.append(level_of(kept).add_(region * LEVELS))
            mass.append(kept.sum(dtype=torch.float64))
        return cls(torch.cat(in_counts), torch.stack(mass))

    @classmethod
    def _of_classes(cls, probabilities: Float[Tensor, "regions n"], labels: UInt8[Tensor, " n"]) -> LevelPlaces:
        """The same where a voxel lies in one region at most: without a look at each voxel for each of many classes."""
        kept = places(compared(operator.ne, labels, 0))
        region = torch.index_select(labels, 0, kept).int().sub_(1)
        own = torch.index_select(probabilities.flatten(), 0, region * probabilities.shape[1] + kept)
        mass = torch.bincount(region, own.double(), minlength=len(probabilities))
        return cls(level_of(own).add_(region * LEVELS), mass)
