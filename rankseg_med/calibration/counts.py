"""What is counted of voxels whose truth is known, bin by bin, without keeping them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64, Integer
from torch import Tensor

from rankseg_med.calibration.bins import BINS, bin_of
from rankseg_med.decode import Regions

Weighting = Literal["cases", "voxels"]
"""Whether every case counts the same, or every voxel."""

# Voxels counted at a time.
_BLOCK_VOXELS = 1 << 20
# How far sums over classes and interpolation may leave [0, 1].
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class BinnedVoxels:
    """Voxels of a slab, a case, or of many, by the bin of their probability; ``+`` joins slabs of one case.

    Attributes:
        voxels: ``(regions, bins)``, how many, or the sum of their weights.
        positive: How many of them are of the region.
        mass: The sum of their probabilities.
    """

    voxels: Float64[Tensor, "regions bins"]
    positive: Float64[Tensor, "regions bins"]
    mass: Float64[Tensor, "regions bins"]

    @classmethod
    def of_classes(
        cls,
        probabilities: Float[Tensor, "classes *spatial"],
        labels: Integer[Tensor, "*spatial"],
        regions: Sequence[Sequence[int]] | None = None,
    ) -> BinnedVoxels:
        """Count voxels of exclusive classes.

        Args:
            probabilities: ``(classes, *spatial)``, the background first.
            labels: The truth, on the same grid and device.
            regions: Label sets, nested or disjoint; by default every foreground class.

        Raises:
            ValueError: Another shape, probabilities outside of [0, 1], a label that is no class, or regions that cannot
                be.
        """
        num_classes = len(probabilities)
        _check_shape(probabilities[0], labels)
        known = Regions.of(num_classes, regions)
        flat, truth = probabilities.flatten(1), labels.flatten()
        counted = cls.empty(len(known.labels))
        if not truth.numel():
            return counted
        lowest, highest = map(int, truth.aminmax())
        if not 0 <= lowest <= highest < num_classes:
            raise ValueError(
                f"labels must be classes of the probabilities, 0 to {num_classes - 1}; got {lowest} to {highest}"
            )
        membership = known.membership(truth.device)
        for some, those in zip(torch.split(flat, _BLOCK_VOXELS, 1), torch.split(truth, _BLOCK_VOXELS), strict=True):
            counted += _counted(known.probabilities(some.float()), membership[:, those.long()])
        return counted

    @classmethod
    def of_channels(
        cls, probabilities: Float[Tensor, "channels *spatial"], masks: Bool[Tensor, "channels *spatial"]
    ) -> BinnedVoxels:
        """Count voxels of independent channels, each a region.

        Args:
            probabilities: ``(channels, *spatial)``.
            masks: The truth, on the same grid and device.

        Raises:
            ValueError: Another shape, or probabilities outside of [0, 1].
        """
        _check_shape(probabilities, masks)
        counted = cls.empty(len(masks))
        blocks = (torch.split(values.flatten(1), _BLOCK_VOXELS, 1) for values in (probabilities, masks))
        for some, those in zip(*blocks, strict=True):
            if some.numel():
                counted += _counted(some.float(), those)
        return counted

    @classmethod
    def empty(cls, regions: int) -> BinnedVoxels:
        """None at all."""
        return cls(*(torch.zeros((regions, BINS), dtype=torch.float64) for _ in range(3)))

    def __add__(self, other: BinnedVoxels) -> BinnedVoxels:
        _check_regions(len(self.voxels), len(other.voxels))
        return BinnedVoxels(self.voxels + other.voxels, self.positive + other.positive, self.mass + other.mass)

    def weighted(self, weights: Float64[Tensor, " regions"]) -> BinnedVoxels:
        """Each voxel by the weight of its region; a weight of 0 leaves nothing."""
        column = weights[:, None]
        return BinnedVoxels(self.voxels * column, self.positive * column, self.mass * column)

    @property
    def volume(self) -> Float64[Tensor, " regions"]:
        """Voxels of each region, by the truth."""
        return self.positive.sum(1)


@dataclass(frozen=True)
class ReliabilityCounts:
    r"""Voxels of whole cases by the bin of their probability; ``+`` joins cases, in any order and from any worker.

    A metric that is averaged over cases, as Dice is, counts a voxel of a small structure as much as many of a large
    one: with $V_k$ the volume of a region in case $k$, its voxels weigh $1/V_k$, so that every case has the weight 1.

    A case that lacks the region has no volume. Its voxels weigh as those of the others do on average,
    $\mathrm{mean}_k(1/V_k)$, the arithmetic mean of the weights (not of the volumes): so, of cases of equal size, those
    without the region have the share of all weight that they have of all cases.

    Attributes:
        every: All voxels alike.
        present: Those of cases that have the region, by $1/V_k$.
        absent: Those of cases that lack it, all alike.
        cases: How many have each region.
        inverse_volume: $\sum_k 1/V_k$ over them.
    """

    every: BinnedVoxels
    present: BinnedVoxels
    absent: BinnedVoxels
    cases: Float64[Tensor, " regions"]
    inverse_volume: Float64[Tensor, " regions"]

    @classmethod
    def of_case(cls, voxels: BinnedVoxels) -> ReliabilityCounts:
        """Counts of all voxels of one case."""
        volume = voxels.volume
        has = (volume > 0).double()
        weights = torch.where(volume > 0, 1 / volume.clamp(min=1), 0.0)
        return cls(voxels, voxels.weighted(weights), voxels.weighted(1 - has), has, weights)

    @classmethod
    def joined(cls, parts: Sequence[ReliabilityCounts]) -> ReliabilityCounts:
        """All cases of several counts, at least one."""
        first, *others = parts
        return sum(others, first)

    def __add__(self, other: ReliabilityCounts) -> ReliabilityCounts:
        return ReliabilityCounts(
            self.every + other.every,
            self.present + other.present,
            self.absent + other.absent,
            self.cases + other.cases,
            self.inverse_volume + other.inverse_volume,
        )

    def weighted(self, weighting: Weighting) -> BinnedVoxels:
        """All voxels, weighted so that every case counts the same (``"cases"``), or every voxel (``"voxels"``).

        Raises:
            ValueError: No case has a region, or another word.
        """
        check_weighting(weighting)
        lacking = [str(region) for region in (self.cases == 0).nonzero()[:, 0].tolist()]
        if lacking:
            raise ValueError(
                f"no case has anything of region {', '.join(lacking)} (counted from 0), so nothing can be said of it; "
                "add cases that have every region"
            )
        if weighting == "voxels":
            return self.every
        return self.present + self.absent.weighted(self.inverse_volume / self.cases)


def _counted(probabilities: Float[Tensor, "regions voxels"], truth: Bool[Tensor, "regions voxels"]) -> BinnedVoxels:
    lowest, highest = map(float, torch.stack(torch.aminmax(probabilities)))
    # Not the other way round: NaN is within no bounds.
    if not (lowest >= -_TOLERANCE and highest <= 1 + _TOLERANCE):
        raise ValueError(f"probabilities must lie in [0, 1], got {lowest:.6g} to {highest:.6g}; were logits passed?")
    rows = []
    for values, positive in zip(probabilities, truth, strict=True):
        bins = bin_of(values)
        rows.append(
            torch.stack(
                [
                    torch.bincount(bins, minlength=BINS).double(),
                    torch.bincount(bins[positive], minlength=BINS).double(),
                    torch.bincount(bins, values.double(), minlength=BINS),
                ]
            )
        )
    return BinnedVoxels(*torch.stack(rows, 1).cpu())


def check_weighting(weighting: Weighting) -> None:
    """Raise ValueError unless it is one of the words."""
    if weighting not in get_args(Weighting):
        raise ValueError(f"weighting must be {' or '.join(get_args(Weighting))}, got {weighting!r}")


def _check_shape(given: Tensor, truth: Tensor) -> None:
    if given.shape != truth.shape:
        raise ValueError(
            f"the truth must be on the grid of the probabilities, {tuple(given.shape)}, got {tuple(truth.shape)}"
        )


def _check_regions(first: int, second: int) -> None:
    if first != second:
        raise ValueError(f"counts of {first} and of {second} regions cannot be added")
