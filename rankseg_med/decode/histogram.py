"""What a decision needs to know of a probability volume: how many voxels have which probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from rankseg_med.decode.blocks import TensorBlocks, TileSpan, places
from rankseg_med.decode.levels import LEVELS, level_of
from rankseg_med.decode.workers import in_order, on_workers


def _nothing() -> Float64[Tensor, " 0"]:
    return torch.zeros(0, dtype=torch.float64)


@dataclass(frozen=True)
class Distribution:
    """Probabilities of one region's voxels, most probable first.

    Attributes:
        levels: ``(n,)`` descending levels from 1 up.
        probabilities: ``(n,)`` float64, descending: what the levels stand for.
        counts: ``(n,)`` float64, voxels at each, at least 1.
        rest_probabilities: ``(r,)`` float64, descending: of the voxels that are not counted level by level, in groups
            whose members count as if all had the same...
        rest_counts: ``(r,)`` float64, ... and how many that would be: real numbers that make mass and sum of squares
            right; a negative one takes back what the levels were rounded up.
    """

    levels: Int64[Tensor, " n"]
    probabilities: Float64[Tensor, " n"]
    counts: Float64[Tensor, " n"]
    rest_probabilities: Float64[Tensor, " r"] = field(default_factory=_nothing)
    rest_counts: Float64[Tensor, " r"] = field(default_factory=_nothing)

    @classmethod
    def of_counts(cls, counts: Int64[Tensor, " levels"]) -> Distribution:
        """Distribution of voxels counted by level; those at level 0 are left out."""
        counts = counts.cpu()
        levels = places(counts[1:] > 0).flip(0) + 1
        return cls(levels, levels.double() / (LEVELS - 1), counts[levels].double())

    @classmethod
    def of_mask(cls, counts: Int64[Tensor, " levels"]) -> Distribution:
        """Distribution of the voxels that a mask keeps; those at level 0 have no mass, but they are kept."""
        at_level_0 = counts[:1].cpu().double()
        return replace(cls.of_counts(counts), rest_probabilities=torch.zeros_like(at_level_0), rest_counts=at_level_0)

    @property
    def peak(self) -> float:
        """Highest probability, by level; 0 without voxels."""
        return float(self.probabilities[0]) if len(self.probabilities) else 0.0

    @property
    def mean_volume(self) -> float:
        """Expected volume in voxels: the sum of all probabilities."""
        return float(self.probabilities @ self.counts + self.rest_probabilities @ self.rest_counts)

    @property
    def volume_variance(self) -> float:
        """Variance of the volume in voxels squared, if voxels are independent: the sum of p (1 - p)."""
        p, q = self.probabilities, self.rest_probabilities
        # What rounding to levels leaves over may be negative, and more than the rest.
        return max(0.0, float((p * (1 - p)) @ self.counts + (q * (1 - q)) @ self.rest_counts))

    @cached_property
    def level_sets(self) -> LevelSets:
        """Its level sets, from the most probable voxels to all of them."""
        rest_counts = self.rest_counts.clamp_min(0)
        edges = torch.cat([self.probabilities, self.rest_probabilities, torch.zeros(1, dtype=torch.float64)])
        volumes = torch.cat([self.counts, rest_counts]).cumsum(0)
        # The rest may be more probable than the least probable of the counted: what is set aside is a mean.
        edges = edges.cummin(0).values
        return LevelSets(self.levels, edges[:-1] - edges[1:], volumes)


class LevelSets(NamedTuple):
    r"""The sets $G_u = \{i : p_i > u\}$ for $u$ from 1 down to 0: the $j$ most probable groups of voxels.

    Attributes:
        levels: ``(n,)`` of the counted groups; the sets after the n-th hold all of these and more.
        weights: ``(m,)`` for how long a stretch of $u$ each is the level set; they add up to the highest probability.
        volumes: ``(m,)`` ascending, voxels in each.
    """

    levels: Int64[Tensor, " n"]
    weights: Float64[Tensor, " m"]
    volumes: Float64[Tensor, " m"]


FAINT_LEVELS = 258
"""Levels by which voxels that are not counted are noted: from 0 to the highest floor, 256, and one for rounding."""

_TENSORS = ("counts", "mass", "uncounted_mass", "uncounted_squares", "peak")


class TileSums(NamedTuple):
    """What is noted of tiles whose voxels are not counted: sums, Euclidean norms and highest values."""

    sums: Float[Tensor, "regions tiles"]
    norms: Float[Tensor, "regions tiles"]
    peaks: Float[Tensor, "regions tiles"]

    @classmethod
    def of(cls, tiles: Float[Tensor, "regions tiles tile"]) -> TileSums:
        """Those of some tiles."""
        return cls(tiles.sum(-1), torch.linalg.vector_norm(tiles, dim=-1), tiles.amax(-1))

    @classmethod
    def of_all(cls, parts: Sequence[TileSums]) -> TileSums:
        """Those of some tiles and of others."""
        return cls(*(torch.cat(values, 1) for values in zip(*parts, strict=True)))

    def where(self, chosen: Bool[Tensor, " tiles"]) -> TileSums:
        """Those of the chosen tiles; nothing of the others."""
        return TileSums(*(values * chosen for values in self))


@dataclass(frozen=True)
class ProbabilityHistogram:
    """Voxel counts per region (or class) and probability level, with the exact mass.

    The expected Dice or IoU of "the t most probable voxels" depends on the voxels' probabilities only, not on where
    they lie, so this is all that a solver reads. Histograms of parts of a volume add up to that of the whole:
    ``whole = first_slab + second_slab``.

    Voxels that are background beyond doubt (every region at most ``floor``) need not be counted one by one: of them
    only the mass and the sum of squares are kept. The rest of the mass, which the counted levels from 1 up do not
    explain, is that of the voxels at level 0; giving each of a CT's 10^8 background voxels half a level would conjure
    up hundreds of phantom voxels.

    Attributes:
        counts: ``(regions, LEVELS)`` int64, voxels whose probability rounds to each level.
        mass: ``(regions,)`` float64, sum of the unrounded probabilities of all voxels: the expected volume.
        uncounted_mass: ``(regions, FAINT_LEVELS)`` float64, sum of the probabilities of the voxels not counted, by the
            level of the mean probability of the foreground of their tile, ...
        uncounted_squares: ``(regions, FAINT_LEVELS)`` float64, ... and of their squares.
        peak: ``(regions,)`` float64, highest unrounded probability; 0 for a volume without voxels.
        floor: Level up to which voxels may be missing from the counts; 0 if all are counted.
    """

    counts: Int64[Tensor, "regions levels"]
    mass: Float64[Tensor, " regions"]
    uncounted_mass: Float64[Tensor, "regions faint"]
    uncounted_squares: Float64[Tensor, "regions faint"]
    peak: Float64[Tensor, " regions"]
    floor: int

    @classmethod
    def empty(cls, regions: int, floor: int, device: torch.device) -> ProbabilityHistogram:
        """Histogram of no voxels."""
        counts = torch.zeros((regions, LEVELS), dtype=torch.int64, device=device)
        mass, peak = torch.zeros((2, regions), dtype=torch.float64, device=device)
        mass_by_level, squares_by_level = torch.zeros((2, regions, FAINT_LEVELS), dtype=torch.float64, device=device)
        return cls(counts, mass, mass_by_level, squares_by_level, peak, floor)

    @classmethod
    def of(cls, probabilities: Float[Tensor, "regions *spatial"]) -> ProbabilityHistogram:
        """Count every voxel of a volume, each channel for itself, block by block, with no copy of it.

        Args:
            probabilities: ``(regions, *spatial)``, any floating dtype, values in [0, 1].

        Returns:
            The histogram, on the device of ``probabilities``.
        """
        blocks = TensorBlocks(probabilities)

        def of_piece(span: TileSpan) -> ProbabilityHistogram:
            histogram = cls.empty(blocks.num_classes, 0, blocks.device)
            for _, tiles in blocks.parts(span, torch.ones(span.count, dtype=torch.bool, device=blocks.device)):
                histogram.count(tiles.flatten(1))
            return histogram

        def of_volume() -> ProbabilityHistogram:
            histogram = cls.empty(blocks.num_classes, 0, blocks.device)
            for piece in in_order(of_piece, blocks.spans()):
                histogram.add_(piece)
            return histogram

        return on_workers(of_volume, blocks.device, len(blocks.spans()))

    def count(self, voxels: Float[Tensor, "regions n"]) -> None:
        """Count further voxels, in place."""
        self.mass.add_(voxels.sum(1, dtype=torch.float64))
        torch.maximum(self.peak, voxels.amax(1).double(), out=self.peak)
        for counts, region in zip(self.counts, voxels, strict=True):
            levels = level_of(region)
            if len(levels) < LEVELS // 4:
                # Fewer than to be worth a count of every level.
                counts.index_add_(0, levels, counts.new_ones(()).expand(len(levels)))
            else:
                counts += torch.bincount(levels, minlength=LEVELS)

    def note_uncounted(self, tiles: TileSums) -> None:
        """Note tiles without counting their voxels, in place."""
        mass, squares = tiles.sums.double(), tiles.norms.double().square()
        self.mass.add_(mass.sum(1))
        # A tile's foreground is most of its mass: weighted by itself, its mean probability is squares over mass.
        levels = level_of(squares / mass.clamp_min(1e-300)).clamp_max_(FAINT_LEVELS - 1).long()
        self.uncounted_mass.scatter_add_(1, levels, mass)
        self.uncounted_squares.scatter_add_(1, levels, squares)
        torch.maximum(self.peak, tiles.peaks.amax(1).double(), out=self.peak)

    def of_regions(self, which: slice) -> ProbabilityHistogram:
        """The histogram of some regions; what is counted later is counted there too."""
        return replace(self, **{name: getattr(self, name)[which] for name in _TENSORS})

    @property
    def regions(self) -> int:
        """Number of regions or classes."""
        return self.counts.shape[0]

    def add_(self, other: ProbabilityHistogram) -> None:
        """Add the histogram of another part of the volume, in place."""
        for own, others in zip(self._sums, other._sums, strict=True):
            own += others
        torch.maximum(self.peak, other.peak, out=self.peak)

    @property
    def _sums(self) -> tuple[Tensor, ...]:
        return self.counts, self.mass, self.uncounted_mass, self.uncounted_squares

    def __add__(self, other: ProbabilityHistogram) -> ProbabilityHistogram:
        """Histogram of both volumes together; the regions must be the same."""
        if self.regions != other.regions:
            raise ValueError(
                f"histograms to be added must have the same regions, got {self.regions} and {other.regions}"
            )
        both = replace(
            self, **{name: getattr(self, name).clone() for name in _TENSORS}, floor=max(self.floor, other.floor)
        )
        both.add_(other)
        return both

    def cpu(self) -> ProbabilityHistogram:
        """The same on the CPU, where solvers work."""
        return replace(self, **{name: getattr(self, name).cpu() for name in _TENSORS})

    def distribution(self, region: int) -> Distribution:
        """Probabilities of one region's voxels, most probable first."""
        counted = Distribution.of_counts(self.counts[region])
        mass, squares = self.uncounted_mass[region].flip(0), self.uncounted_squares[region].flip(0)
        mass, squares = mass[squares > 0], squares[squares > 0]
        probabilities = squares / mass
        # What neither explains was lost by rounding, and by the voxels at level 0.
        unexplained = float(self.mass[region]) - counted.mean_volume - float(mass.sum())
        if abs(unexplained) <= 1e-9 * max(1.0, float(self.mass[region])):
            return replace(counted, rest_probabilities=probabilities, rest_counts=mass / probabilities)
        probability = half_level = 0.5 / (LEVELS - 1)
        if unexplained > 0 and (at_level_0 := float(self.counts[region, 0])):
            probability = min(unexplained / at_level_0, half_level)
        last = torch.tensor([probability], dtype=torch.float64)
        return replace(
            counted,
            rest_probabilities=torch.cat([probabilities, last]),
            rest_counts=torch.cat([mass / probabilities, unexplained / last]),
        )
