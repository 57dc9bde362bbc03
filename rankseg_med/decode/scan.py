"""One reading of a probability volume: validate it, set certain background aside, count the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankseg_med.decode.blocks import Blocks, Grid, Voxels, is_batch, joined, take
from rankseg_med.decode.histogram import Distribution, ProbabilityHistogram, TileSums
from rankseg_med.decode.levels import LEVELS, lowest_probability_of
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.validation import ValueCheck

# Uncertain voxels are kept while they take at most this share of the volume's memory in single precision.
_KEPT_SHARE = 0.05


class Scan:
    """What decisions need to know of a volume, from one reading of it.

    A voxel whose every region stays at ``floor`` or below is background beyond doubt: of it only mass, squares and peak
    are noted. In a CT that is nearly every voxel, and most are found tile by tile, without a look at each.

    Args:
        blocks: The volume.
        regions: What is scored.
        floor: Level; 0 counts every voxel.
        check: Sees every tile, if given, and raises if it was no probability volume.

    Attributes:
        histogram: Of the regions.
        background: Of class 0, likewise.
        certain_voxels: How many voxels were not counted.
        lowest_assignable: Lowest probability with which a voxel may be given to a region by choice.
    """

    def __init__(self, blocks: Blocks, regions: Regions, floor: int, check: ValueCheck | None = None) -> None:
        self.blocks = blocks
        self.regions = regions
        self.floor = floor
        self._rows = ProbabilityHistogram.empty(1 + len(regions.labels), floor, blocks.device)
        self.certain_voxels = 0
        self.lowest_assignable = lowest_probability_of(floor + 1, blocks.dtype)
        # Without a floor every voxel is counted, also those that round to level 0.
        self._lowest_uncertain = self.lowest_assignable if floor else -torch.inf
        self._limits: list[tuple[Grid, Float[Tensor, "regions tiles"], Float[Tensor, " tiles"]]] = []
        self._uncertain: list[Voxels] | None = []
        room = int(_KEPT_SHARE * blocks.num_voxels * blocks.num_classes * 4)
        for positions, classes in joined(self._read(check)):
            self._rows.count(self._background_and_regions(classes))
            room -= positions.nbytes + classes.nbytes
            if self._uncertain is not None:
                self._uncertain = None if room < 0 else [*self._uncertain, (positions, classes)]
        if check is not None:
            check.conclude()
        self.background = self._rows.of_regions(slice(0, 1))
        self.histogram = self._rows.of_regions(slice(1, None))

    def candidates(
        self, limits: Float[Tensor, " regions"], background_limit: float, first: int = 0
    ) -> Iterator[Voxels]:
        """All voxels with a region at its limit or above, or with background below its own, and others.

        Limits must lie above the floor. Voxels before position ``first`` may be left out.
        """
        if self._uncertain is not None and background_limit <= self.lowest_certain:
            yield from self._uncertain
            return
        for grid, peaks, background_lows in self._limits:
            reached = (peaks >= limits[:, None]).any(0) | (background_lows < background_limit)
            reached[: max(0, first - grid.start) // grid.tile] = False
            for numbers, some in self.blocks.parts(grid, reached):
                everywhere = torch.ones_like(some[0], dtype=torch.bool)
                index = torch.arange(everywhere.numel(), device=some.device)
                yield grid.positions(everywhere, numbers, index), some.flatten(1)

    @property
    def certain_background(self) -> float:
        """Sum of the background probabilities of the certain voxels."""
        return float(self.background.uncounted_mass.sum())

    @property
    def lowest_certain(self) -> float:
        """The background probability of a certain voxel, at the least."""
        return 1 - (self.blocks.num_classes - 1) * self.floor / (LEVELS - 1)

    def background_distribution(self) -> Distribution:
        """Background probabilities, the certain voxels standing at their mean."""
        counted = Distribution.of_counts(self.background.counts[0])
        if not self.certain_voxels:
            return counted
        mean = self.certain_background / self.certain_voxels
        place = int((counted.probabilities > mean).sum())
        level = torch.tensor([round(mean * (LEVELS - 1))])

        def insert(values: Tensor, value: Tensor) -> Tensor:
            return torch.cat([values[:place], value.to(values.dtype), values[place:]])

        return replace(
            counted,
            levels=insert(counted.levels, level),
            probabilities=insert(counted.probabilities, torch.tensor([mean], dtype=torch.float64)),
            counts=insert(counted.counts, torch.tensor([self.certain_voxels])),
        )

    def _read(self, check: ValueCheck | None) -> Iterator[Voxels]:
        """The uncertain voxels. The others, and dense batches that would not be kept, are seen to on the way."""
        for grid in self.blocks.grids():
            lows, highs, sums = self._sum_up(grid)
            self._limits.append((grid, sums.peaks[1:], lows[0]))
            certain = sums.peaks[1:].amax(0) < self._lowest_uncertain
            if check is not None:
                certain &= ~check.see(lows, highs)
            self.certain_voxels += int(certain.count_nonzero()) * grid.tile
            self._rows.note_uncounted(sums, certain)
            for numbers, tiles in self.blocks.parts(grid, ~certain):
                if check is not None:
                    check.add_up(tiles)
                uncertain = self._uncertain_among(tiles)
                if self._uncertain is None and is_batch(tiles) and bool(uncertain.all()):
                    self._rows.count(self._background_and_regions(tiles).flatten(1))
                    continue
                index = uncertain.flatten().nonzero().squeeze(1)
                yield grid.positions(uncertain, numbers, index), take(tiles.flatten(1), index)

    def _sum_up(self, grid: Grid) -> tuple[Float[Tensor, "classes tiles"], Float[Tensor, "classes tiles"], TileSums]:
        """Lowest and highest value of each class in each tile, and the sums of background and regions."""
        lows, highs, sums = [], [], []
        for run in self.blocks.runs(grid):
            tiles = self.blocks.tiles(grid, run)
            lows.append(tiles.amin(-1))
            if self.regions.are_classes:
                sums.append(TileSums.of(tiles))
                highs.append(sums[-1].peaks)
            else:
                highs.append(tiles.amax(-1))
                sums.append(TileSums.of(self._background_and_regions(tiles)))
        return torch.cat(lows, 1), torch.cat(highs, 1), TileSums(*(torch.cat(s, 1) for s in zip(*sums, strict=True)))

    def _uncertain_among(self, tiles: Float[Tensor, "classes tiles tile"]) -> Bool[Tensor, "tiles tile"]:
        """Which voxels are uncertain; the others are set aside."""
        uncertain = self.regions.probabilities(tiles).amax(0) >= self._lowest_uncertain
        if not bool(uncertain.all()):
            certain = ~uncertain
            self.certain_voxels += int(certain.count_nonzero())
            rest = TileSums.of(self._background_and_regions(tiles * certain))
            self._rows.note_uncounted(rest, torch.ones_like(certain[:, 0]))
        return uncertain

    def _background_and_regions(self, classes: Float[Tensor, "classes *voxels"]) -> Float[Tensor, "rows *voxels"]:
        if self.regions.are_classes:
            return classes
        return torch.cat([classes[:1], self.regions.probabilities(classes)])
