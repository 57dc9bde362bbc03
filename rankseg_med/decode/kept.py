"""What a label map keeps of each region, and what it scores in expectation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from rankseg_med.decode.assignment.rules import membership_of
from rankseg_med.decode.histogram import Distribution
from rankseg_med.decode.levels import LEVELS, level_of
from rankseg_med.decode.objective import Objective
from rankseg_med.decode.regions import Regions


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
        """Of an empty label map."""
        counts = torch.zeros((len(regions.labels), LEVELS), dtype=torch.int64, device=device)
        return cls(counts, torch.zeros(len(counts), dtype=torch.float64, device=device))

    @property
    def volume(self) -> Float64[Tensor, " regions"]:
        """Number of voxels of each region."""
        return self.counts.sum(1).double()

    def __add__(self, other: KeptVoxels) -> KeptVoxels:
        """Of both together."""
        return KeptVoxels(self.counts + other.counts, self.mass + other.mass)

    def add(
        self,
        regions: Regions,
        probabilities: Float[Tensor, "regions n"],
        labels: UInt8[Tensor, " n"],
        each: int = 1,
    ) -> None:
        """Add voxels with their region probabilities and labels, ``each`` times, in place."""
        index = labels.nonzero().squeeze(1)
        if regions.are_classes:
            own = labels[index].long() - 1
            kept = probabilities[own, index]
            places = own * LEVELS + level_of(kept)
            self.counts.view(-1).index_add_(0, places, torch.full_like(places, each))
            self.mass.index_add_(0, own, kept.double(), alpha=each)
            return
        for region, inside in enumerate(membership_of(regions, labels[index])):
            kept = probabilities[region, index[inside]]
            levels = level_of(kept).long()
            self.counts[region].index_add_(0, levels, torch.full_like(levels, each))
            self.mass[region] += each * kept.double().sum()

    def expected_scores(self, distributions: Sequence[Distribution], objectives: Sequence[Objective]) -> list[float]:
        """Expected score of each region, from the distribution of all voxels."""
        return [
            objective.score_of_mask(distribution, counts, mass)
            for distribution, counts, mass, objective in zip(
                distributions, self.counts.cpu(), self.mass.tolist(), objectives, strict=True
            )
        ]
