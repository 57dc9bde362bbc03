"""One reading of a probability volume: validate it, set certain background aside, count the rest."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankseg_med.decode.blocks import Blocks, parts
from rankseg_med.decode.histogram import Distribution, ProbabilityHistogram
from rankseg_med.decode.levels import LEVELS, lowest_probability_of
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.validation import ValueCheck


class Scan:
    """What decisions need to know of a volume, from one reading of it.

    A tile whose every region stays at ``floor`` or below is background beyond doubt: of it only mass, squares and peak
    are noted. In a CT that is nearly all of it.

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
        self.histogram = ProbabilityHistogram.empty(len(regions.labels), floor, blocks.device)
        self.background = ProbabilityHistogram.empty(1, floor, blocks.device)
        self.certain_voxels = 0
        self.lowest_assignable = lowest_probability_of(floor + 1, blocks.dtype)
        # Without a floor every voxel is counted, also those that round to level 0.
        self._lowest_uncertain = self.lowest_assignable if floor else -torch.inf
        self._peaks: list[Float[Tensor, "regions tiles"]] = []
        self._background_lows: list[Float[Tensor, " tiles"]] = []
        for run in blocks.runs():
            self._see(blocks.tiles(*run), check)
        if check is not None:
            check.conclude()

    def tiles_with(
        self, run: int, limits: Float[Tensor, " regions"], background_limit: float
    ) -> Bool[Tensor, " tiles"]:
        """Which tiles of a run hold a voxel with a region at its limit or above, or with background below its own."""
        reached = (self._peaks[run] >= limits[:, None]).sum(0) > 0
        return reached | (self._background_lows[run] < background_limit)

    @property
    def certain_background(self) -> float:
        """Sum of the background probabilities of the certain voxels."""
        return float(self.background.uncounted_mass)

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

    def _see(self, tiles: Float[Tensor, "classes tiles tile"], check: ValueCheck | None) -> None:
        lows, highs = tiles.amin(-1), tiles.amax(-1)
        regions = self.regions.probabilities(tiles)
        peaks = highs[1:] if self.regions.are_classes else regions.amax(-1)
        self._peaks.append(peaks)
        self._background_lows.append(lows[0])
        certain = peaks.amax(0) < self._lowest_uncertain
        if check is not None:
            certain &= ~check.see(lows, highs)
        number = int(certain.count_nonzero())
        if number:
            self.certain_voxels += number * tiles.shape[2]
            self.histogram.note_uncounted(regions, peaks, certain)
            self.background.note_uncounted(tiles[:1], highs[:1], certain)
        for _, uncertain in parts(tiles, ~certain):
            if check is not None:
                check.add_up(uncertain)
            self.histogram.count(self.regions.probabilities(uncertain))
            self.background.count(uncertain[:1])
