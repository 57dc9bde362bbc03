"""One reading of a probability volume, piece by piece: what decisions need to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankseg_med.decode.blocks import Blocks, InTiles, Places, Scattered, TileSpan, Voxels, joined
from rankseg_med.decode.histogram import Distribution, ProbabilityHistogram
from rankseg_med.decode.levels import LEVELS, lowest_probability_of
from rankseg_med.decode.piece import Piece, TileLimits
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.validation import ValueCheck
from rankseg_med.decode.workers import in_order

# Uncertain voxels are kept while they take at most this share of the volume's memory in single precision.
_KEPT_SHARE = 0.05
# Values of tiles that one worker reads again at a time.
_READ_AGAIN_VALUES = 1 << 21


Candidates: TypeAlias = Iterable[tuple[Places, Float[Tensor, "classes n"]]]
"""Voxels and their class probabilities, a batch at a time."""


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
        histogram: Histogram of the regions.
        background: Histogram of class 0, likewise.
        certain_voxels: How many voxels were not counted.
        lowest_assignable: Lowest probability with which a voxel may be given to a region by choice.
        lowest_uncertain: Lowest probability of a region that makes a voxel counted.
    """

    def __init__(self, blocks: Blocks, regions: Regions, floor: int, check: ValueCheck | None = None) -> None:
        self.blocks = blocks
        self.regions = regions
        self.floor = floor
        self.certain_voxels = 0
        self.lowest_assignable = lowest_probability_of(floor + 1, blocks.dtype)
        # Without a floor every voxel is counted, also those that round to level 0.
        self.lowest_uncertain = self.lowest_assignable if floor else -torch.inf
        self._rows = ProbabilityHistogram.empty(1 + len(regions.labels), floor, blocks.device)
        self._limits: list[TileLimits] = []
        self._batches = [*self._read(check)]
        if check is not None:
            check.conclude()
        self.background = self._rows.of_regions(slice(0, 1))
        self.histogram = self._rows.of_regions(slice(1, None))

    def candidates(self, limits: Float[Tensor, " regions"], background_limit: float) -> list[Candidates]:
        """All voxels with a region at its limit or above, or with background below its own, and others.

        Limits must lie above the floor. Voxels come in parts, in their order, which may be worked on side by side.
        """
        uncertain_suffice = background_limit <= self.lowest_certain
        parts: list[Candidates] = []
        for batch in self._batches if uncertain_suffice else self._limits:
            if isinstance(batch, TileLimits):
                parts += self._to_be_read_again(batch, limits, background_limit)
            else:
                positions, classes = batch
                parts.append([(Scattered(positions), classes)])
        return parts

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

    def _read(self, check: ValueCheck | None) -> Iterator[Voxels | TileLimits]:
        """The uncertain voxels in batches, and what is known of pieces that have too many of them to be kept."""
        blocks = self.blocks
        room = blocks.room(_KEPT_SHARE)
        for piece in in_order(lambda span: Piece(self, span, check), blocks.spans()):
            self._rows.add_(piece.rows)
            self.certain_voxels += piece.certain_voxels
            self._limits.append(piece.limits)
            kept = piece.uncertain if piece.kept_bytes <= room else None
            room -= piece.kept_bytes if kept else 0
            yield from [piece.limits] if kept is None else joined(kept)

    def _to_be_read_again(
        self, tiles: TileLimits, limits: Float[Tensor, " regions"], background_limit: float
    ) -> list[Candidates]:
        reached = tiles.reached(limits, background_limit)
        parts = tiles.span.split(_READ_AGAIN_VALUES // self.blocks.num_classes)
        chosen = torch.split(reached, [part.count for part in parts])
        return [_ReadAgain(self.blocks, part, some) for part, some in zip(parts, chosen, strict=True) if some.any()]


@dataclass(frozen=True)
class _ReadAgain:
    """All voxels of the chosen tiles of a piece."""

    blocks: Blocks
    span: TileSpan
    chosen: Bool[Tensor, " tiles"]

    def __iter__(self) -> Iterator[tuple[Places, Float[Tensor, "classes n"]]]:
        for numbers, some in self.blocks.parts(self.span, self.chosen):
            yield InTiles(self.span, numbers), some.flatten(1)
