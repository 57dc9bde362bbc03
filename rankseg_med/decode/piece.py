"""One reading of a piece of a probability volume: validate it, set certain background aside, count the rest."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankseg_med.decode.blocks import InTiles, TileSpan, Voxels, at_least, compared, joined, number, places, take
from rankseg_med.decode.histogram import ProbabilityHistogram, TileSums
from rankseg_med.decode.validation import ValueCheck

if TYPE_CHECKING:
    from rankseg_med.decode.scan import Scan

# A piece keeps its uncertain voxels while they take at most this share of it.
_KEPT_SHARE = 0.25


@dataclass(frozen=True)
class TileLimits:
    """Tiles, and the extremes of what they hold.

    Attributes:
        span: The tiles.
        peaks: Highest probability of each region...
        background_lows: ... and lowest of background in each.
    """

    span: TileSpan
    peaks: Float[Tensor, "regions tiles"]
    background_lows: Float[Tensor, " tiles"]

    def reached(self, limits: Float[Tensor, " regions"], background_limit: float) -> Bool[Tensor, " tiles"]:
        """Tiles with a voxel at a region's limit or above, or with background below its own."""
        return at_least(self.peaks, limits).any(0) | (self.background_lows < background_limit)


class Piece:
    """What is known of a piece from one reading of it.

    Args:
        scan: Scan of the volume, as far as it is known before.
        span: The piece.
        check: Sees every tile, if given.

    Attributes:
        rows: Histogram of background and regions.
        certain_voxels: How many voxels were not counted.
        uncertain: The counted voxels; None if they are too many to be kept.
        limits: What its tiles hold.
    """

    limits: TileLimits

    def __init__(self, scan: Scan, span: TileSpan, check: ValueCheck | None) -> None:
        self.rows = ProbabilityHistogram.empty(1 + len(scan.regions.labels), scan.floor, scan.blocks.device)
        self.certain_voxels = 0
        self.uncertain: list[Voxels] | None = []
        self._blocks, self._regions, self._lowest_uncertain = scan.blocks, scan.regions, scan.lowest_uncertain
        self._set_aside: list[TileSums] = []
        room = self._blocks.room(_KEPT_SHARE * span.count * span.tile / self._blocks.num_voxels)
        for positions, classes in joined(self._read(span, check)):
            self.rows.count(self._background_and_regions(classes))
            room -= positions.nbytes + classes.nbytes
            if self.uncertain is not None:
                self.uncertain = None if room < 0 else [*self.uncertain, (positions, classes)]
        self.rows.note_uncounted(TileSums.of_all(self._set_aside))

    @property
    def kept_bytes(self) -> int:
        """What the kept voxels take."""
        return sum(positions.nbytes + classes.nbytes for positions, classes in self.uncertain or ())

    def _read(self, span: TileSpan, check: ValueCheck | None) -> Iterator[Voxels]:
        """The uncertain voxels; the others are seen to on the way, and so is everything once no more will be kept."""
        lows, highs, sums = self._sum_up(span)
        self.limits = TileLimits(span, sums.peaks[1:], lows[0])
        certain = self.limits.peaks.amax(0) < self._lowest_uncertain
        if check is not None:
            certain &= ~check.see(lows, highs)
        self.certain_voxels += number(certain) * span.tile
        self._set_aside.append(sums.where(certain))
        for numbers, tiles in self._blocks.parts(span, ~certain):
            if check is not None:
                check.add_up(tiles)
            if self.uncertain is None:
                self.rows.count(self._background_and_regions(tiles).flatten(1))
                continue
            index = places(self._uncertain_among(tiles).flatten())
            yield InTiles(span, numbers).positions(index), take(tiles.flatten(1), index)

    def _sum_up(
        self, span: TileSpan
    ) -> tuple[Float[Tensor, "classes tiles"], Float[Tensor, "classes tiles"], TileSums]:
        """Lowest and highest value of each class in each tile, and the sums of background and regions."""
        lows, highs, sums = [], [], []
        for run in self._blocks.runs(span):
            tiles = self._blocks.tiles(span, run)
            lows.append(tiles.amin(-1))
            if self._regions.are_classes:
                sums.append(TileSums.of(tiles))
                highs.append(sums[-1].peaks)
            else:
                highs.append(tiles.amax(-1))
                sums.append(TileSums.of(self._background_and_regions(tiles)))
        return torch.cat(lows, 1), torch.cat(highs, 1), TileSums.of_all(sums)

    def _uncertain_among(self, tiles: Float[Tensor, "classes tiles tile"]) -> Bool[Tensor, "tiles tile"]:
        """Which voxels are uncertain; the others are set aside."""
        highest: Tensor = reduce(torch.maximum, self._regions.probabilities(tiles))
        uncertain = compared(operator.ge, highest, self._lowest_uncertain)
        if certain_voxels := uncertain.numel() - number(uncertain):
            self.certain_voxels += certain_voxels
            # Numbers are multiplied by bytes many at a time, by truth values one by one.
            certain = (~uncertain).view(torch.uint8)
            self._set_aside.append(TileSums.of(self._background_and_regions(tiles * certain)))
        return uncertain

    def _background_and_regions(self, classes: Float[Tensor, "classes *voxels"]) -> Float[Tensor, "rows *voxels"]:
        if self._regions.are_classes:
            return classes
        return torch.cat([classes[:1], self._regions.probabilities(classes)])
