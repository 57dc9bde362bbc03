"""One reading of a probability volume: validate it, set certain background aside, count the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from rankseg_med.decode.histogram import Distribution, ProbabilityHistogram
from rankseg_med.decode.levels import LEVELS, level_of, lowest_probability_of
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.validation import ValueCheck

# Voxels read at a time: few enough to stay in the cache with their intermediate results.
_BLOCK_VOXELS = 1 << 20
# Voxels looked at together to set them aside.
_TILE_VOXELS = 1 << 12
# The uncertain voxels are kept while they take at most this share of the volume's own memory; else they are read again.
_KEPT_SHARE = 0.04


Positions: TypeAlias = Int64[Tensor, " _"] | slice
"""Where voxels lie in the flat volume: one by one, or a run."""


class Blocks(ABC):
    """A probability volume that is read in runs of voxels: a tensor, or a session's store."""

    num_classes: int
    num_voxels: int
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def read(self, start: int, stop: int) -> Float[Tensor, "classes n"]:
        """Probabilities of a run of voxels, in at least single precision."""


class TensorBlocks(Blocks):
    """Blocks of a tensor ``(classes, *spatial)``, without copying it."""

    def __init__(self, probabilities: Float[Tensor, "classes *spatial"]) -> None:
        self.flat = probabilities.flatten(1)
        self.num_classes, self.num_voxels = self.flat.shape
        self.dtype = torch.promote_types(probabilities.dtype, torch.float32)
        self.device = probabilities.device

    def read(self, start: int, stop: int) -> Float[Tensor, "classes n"]:
        """Probabilities of a run of voxels; half precision is widened."""
        return self.flat[:, start:stop].to(self.dtype)


class UncertainVoxels:
    """The voxels that could be foreground, found in one reading of the volume.

    A voxel whose every region has a probability of at most ``floor`` is background beyond doubt: of it only the mass is
    noted. In a CT that is nearly all of it, most in whole tiles that need one look.

    Args:
        blocks: The volume.
        regions: What is scored.
        floor: Level; 0 takes every voxel for uncertain.
        check: Sees every block, if given, and raises if it was no probability volume.

    Attributes:
        histogram: Of the regions over all voxels.
        certain_voxels: How many voxels were set aside.
        certain_background: Sum of their background probabilities.
        background_peak: Highest background probability.
        lowest_assignable: Lowest probability with which a voxel may be given to a region by choice.
        contested_voxels: How many voxels two regions or more could want.
    """

    def __init__(self, blocks: Blocks, regions: Regions, floor: int, check: ValueCheck | None = None) -> None:
        self.blocks = blocks
        self.regions = regions
        self.floor = floor
        self.histogram = ProbabilityHistogram.empty(len(regions.labels), floor, blocks.device)
        self.certain_voxels = 0
        self.certain_background = 0.0
        self.lowest_assignable = lowest_probability_of(floor + 1, blocks.dtype)
        self.contested_voxels = 0
        # Without a floor every voxel is looked at, also those that round to level 0.
        self._lowest_uncertain = self.lowest_assignable if floor else -torch.inf
        self._background_counts = torch.zeros(LEVELS, dtype=torch.int64, device=blocks.device)
        self.background_peak = 0.0
        self._kept: dict[int, tuple[Positions, Tensor]] = {}
        self._room = int(_KEPT_SHARE * blocks.num_voxels * blocks.num_classes * 4)
        for start in range(0, blocks.num_voxels, _BLOCK_VOXELS):
            block = self._read(start)
            if check is not None:
                check.see(block)
            self._count(start, block)
        if check is not None:
            check.conclude()

    def __iter__(self) -> Iterator[tuple[Positions, Float[Tensor, "classes n"]]]:
        """Positions and class probabilities of the uncertain voxels, a block at a time."""
        for start in range(0, self.blocks.num_voxels, _BLOCK_VOXELS):
            found = self._kept.get(start)
            if found is None:
                block = self._read(start)
                candidates = self._candidates(start, block, self._tile_peaks(block).amax(0))
                found = self._uncertain(*candidates, self.regions.probabilities(candidates[1]))
            if found[1].shape[1]:
                yield found

    def contested(self, region: Float[Tensor, "regions n"]) -> Bool[Tensor, " n"]:
        """Which voxels two regions or more could want, from their region probabilities."""
        return (region >= self.lowest_assignable).sum(0, dtype=torch.int16) > 1

    def background(self) -> Distribution:
        """Background probabilities, the certain voxels standing at their mean."""
        counted = Distribution.of_counts(self._background_counts)
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

    def _read(self, start: int) -> Float[Tensor, "classes n"]:
        return self.blocks.read(start, min(start + _BLOCK_VOXELS, self.blocks.num_voxels))

    def _tile_peaks(self, block: Float[Tensor, "classes n"]) -> Float[Tensor, "regions tiles"]:
        """Highest probability of each region in each whole tile of the block."""
        return self.regions.probabilities(_tiles(block)).amax(-1)

    def _candidates(
        self, start: int, block: Float[Tensor, "classes n"], tile_peaks: Float[Tensor, " tiles"]
    ) -> tuple[Positions, Float[Tensor, "classes m"]]:
        """Voxels in uncertain tiles, and those beyond the last whole tile."""
        tiles = (tile_peaks >= self._lowest_uncertain).nonzero().squeeze(1)
        if len(tiles) == len(tile_peaks):
            return slice(start, start + block.shape[1]), block
        whole = len(tile_peaks) * _TILE_VOXELS
        within = torch.arange(_TILE_VOXELS, device=block.device)
        beyond = torch.arange(whole, block.shape[1], device=block.device)
        positions = start + torch.cat([(tiles[:, None] * _TILE_VOXELS + within).flatten(), beyond])
        return positions, torch.cat([_tiles(block)[:, tiles].flatten(1), block[:, whole:]], 1)

    def _uncertain(
        self, positions: Positions, candidates: Float[Tensor, "classes m"], region: Float[Tensor, "regions m"]
    ) -> tuple[Positions, Float[Tensor, "classes k"]]:
        """The uncertain ones of some voxels, given their region probabilities."""
        if not self.floor:
            return positions, candidates
        index = (region >= self._lowest_uncertain).any(0).nonzero().squeeze(1)
        if len(index) == candidates.shape[1]:
            return positions, candidates
        return index + positions.start if isinstance(positions, slice) else positions[index], candidates[:, index]

    def _count(self, start: int, block: Float[Tensor, "classes n"]) -> None:
        tiles = self.regions.probabilities(_tiles(block))
        tile_peaks = tiles.amax(-1)
        positions, candidates = self._candidates(start, block, tile_peaks.amax(0))
        doubtful = self.regions.probabilities(candidates)
        positions, classes = self._uncertain(positions, candidates, doubtful)
        voxels = self.regions.probabilities(classes)
        histogram = self.histogram
        histogram.count(voxels)
        self.contested_voxels += int(self.contested(voxels).count_nonzero())
        if classes.shape[1] < block.shape[1]:
            self._set_aside(tiles, tile_peaks, doubtful)
            self.certain_voxels += block.shape[1] - classes.shape[1]
            self.certain_background += float(row_sums(block[:1]) - row_sums(classes[:1]))
        self.background_peak = max(self.background_peak, float(block[0].amax()))
        self._background_counts += torch.bincount(level_of(classes[0]), minlength=LEVELS)
        taken = classes.nbytes + (0 if isinstance(positions, slice) else positions.nbytes)
        if taken <= self._room:
            self._room -= taken
            self._kept[start] = (positions, classes)

    def _set_aside(
        self,
        tiles: Float[Tensor, "regions tiles tile"],
        tile_peaks: Float[Tensor, "regions tiles"],
        doubtful: Float[Tensor, "regions m"],
    ) -> None:
        """Note mass, squares and peak of the certain voxels: whole tiles, and those in uncertain tiles."""
        certain_tiles = tile_peaks.amax(0) < self._lowest_uncertain
        squares = torch.linalg.vector_norm(tiles, dim=-1).double().square() * certain_tiles
        doubtless = torch.where((doubtful >= self._lowest_uncertain).any(0), 0, doubtful)
        histogram = self.histogram
        histogram.mass.add_((tiles.sum(-1).double() * certain_tiles).sum(-1) + doubtless.sum(-1, dtype=torch.float64))
        histogram.uncounted_squares.add_(
            squares.sum(-1) + torch.linalg.vector_norm(doubtless, dim=-1).double().square()
        )
        for values in (tile_peaks, doubtless):
            if values.shape[1]:
                torch.maximum(histogram.peak, values.amax(1).double(), out=histogram.peak)


def _tiles(block: Float[Tensor, "classes n"]) -> Float[Tensor, "classes tiles tile"]:
    """The whole tiles of a block; what is left over at its end is looked at voxel by voxel."""
    whole = block.shape[1] // _TILE_VOXELS
    return torch.unflatten(block[:, : whole * _TILE_VOXELS], 1, (whole, _TILE_VOXELS))


def row_sums(rows: Float[Tensor, "rows n"]) -> Float64[Tensor, " rows"]:
    """Sums in double precision, of tiles summed in the rows' own: as exact, at a fraction of the time."""
    tiles = _tiles(rows)
    beyond = rows[:, tiles.shape[1] * _TILE_VOXELS :]
    return tiles.sum(-1).sum(-1, dtype=torch.float64) + beyond.sum(-1, dtype=torch.float64)
