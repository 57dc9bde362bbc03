"""What a decision needs to know of a probability volume: how many voxels have which probability."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

LEVELS = 65_536
"""Uniform probability levels on [0, 1]: level ``k`` stands for ``k / 65535``, so that 0 and 1 are exact."""

_BLOCK_VOXELS = 1 << 18


@dataclass(frozen=True)
class ProbabilityHistogram:
    """Voxel counts per class and probability level, with the exact mass.

    The expected Dice or IoU of "the t most probable voxels" depends on the voxels' probabilities only, not on where
    they lie, so this is all that a solver reads. Histograms of parts of a volume add up to that of the whole:
    ``sum_of_slabs = first + second``.

    Attributes:
        counts: ``(classes, LEVELS)`` int64, voxels whose probability rounds to each level.
        mass: ``(classes,)`` float64, sum of the unrounded probabilities: the expected volume in voxels.
        peak: ``(classes,)`` float64, highest unrounded probability; 0 for a volume without voxels.
    """

    counts: Int64[Tensor, "classes levels"]
    mass: Float64[Tensor, " classes"]
    peak: Float64[Tensor, " classes"]

    @classmethod
    def of(cls, probabilities: Float[Tensor, "classes *spatial"]) -> ProbabilityHistogram:
        """Count a probability volume, block by block, with no copy of it.

        Args:
            probabilities: ``(classes, *spatial)``, any floating dtype, values in [0, 1]
                (see [`check_probabilities`][rankseg_med.decode.check_probabilities]).

        Returns:
            The histogram, on the device of ``probabilities``.
        """
        classes, device = probabilities.shape[0], probabilities.device
        counts = torch.zeros((classes, LEVELS), dtype=torch.int64, device=device)
        mass = torch.zeros(classes, dtype=torch.float64, device=device)
        peak = torch.zeros(classes, dtype=torch.float64, device=device)
        for block in voxel_blocks(probabilities):
            mass += block.sum(1, dtype=torch.float64)
            peak = torch.maximum(peak, block.amax(1).double())
            for class_counts, class_levels in zip(counts, level_of(block), strict=True):
                class_counts += torch.bincount(class_levels, minlength=LEVELS)
        return cls(counts, mass, peak)

    def __add__(self, other: ProbabilityHistogram) -> ProbabilityHistogram:
        """Histogram of both volumes together; the classes must be the same."""
        if self.counts.shape != other.counts.shape:
            raise ValueError(
                "histograms to be added must have the same number of classes, "
                f"found {len(self.counts)} and {len(other.counts)}"
            )
        return ProbabilityHistogram(
            self.counts + other.counts, self.mass + other.mass, torch.maximum(self.peak, other.peak)
        )

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return self.counts.shape[0]

    def descending(self, class_index: int) -> tuple[Int64[Tensor, " n"], Float64[Tensor, " n"], Int64[Tensor, " n"]]:
        """Levels that occur in a class, from the most probable down.

        Level 0 stands for the mass that the other levels leave, spread over its voxels: half a level each would
        conjure up hundreds of phantom voxels from the 10^8 background voxels of a CT. It is left out when that
        leaves nothing, since a voxel of probability 0 is never worth keeping.

        Returns:
            ``(levels, probabilities, counts)``, each ``(n,)``, on the CPU; probabilities in (0, 1].
        """
        counts = self.counts[class_index].cpu()
        levels = counts.nonzero().squeeze(1).flip(0)
        occurring = counts[levels]
        probabilities = levels.double() / (LEVELS - 1)
        if len(levels) and levels[-1] == 0:
            rest = float(self.mass[class_index]) - float(probabilities @ occurring.double())
            lowest = min(max(rest, 0.0) / float(occurring[-1]), 0.5 / (LEVELS - 1))
            # A rest within the rounding of the other levels' sum is no evidence of mass.
            if lowest > 1e-12:
                probabilities[-1] = lowest
            else:
                levels, probabilities, occurring = levels[:-1], probabilities[:-1], occurring[:-1]
        return levels, probabilities, occurring


def voxel_blocks(probabilities: Float[Tensor, "classes *spatial"]) -> Iterator[Float[Tensor, "classes block"]]:
    """Cut a volume into runs of voxels small enough to work on in at least single precision."""
    working_dtype = torch.promote_types(probabilities.dtype, torch.float32)
    for block in torch.split(probabilities.flatten(1), _BLOCK_VOXELS, dim=1):
        yield block.to(working_dtype)


def level_of(probabilities: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Nearest level of each probability, ties upwards; int32."""
    return (probabilities.clamp(0, 1) * (LEVELS - 1) + 0.5).to(torch.int32)


def lowest_probability_of(level: int, dtype: torch.dtype) -> float:
    """Smallest number of ``dtype`` that rounds to ``level`` or above: ``p >= it`` means ``level_of(p) >= level``.

    Returns:
        The number; minus infinity for level 0 and infinity for ``LEVELS`` (no voxel).
    """
    if level <= 0:
        return -math.inf
    if level >= LEVELS:
        return math.inf
    edge = torch.tensor((level - 0.5) / (LEVELS - 1), dtype=dtype)
    below, above = torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype)
    # (level - 0.5) / 65535 may round to either side of the true edge.
    while int(level_of(edge)) >= level:
        edge = torch.nextafter(edge, below)
    while int(level_of(edge)) < level:
        edge = torch.nextafter(edge, above)
    return float(edge)
