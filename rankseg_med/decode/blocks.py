"""A probability volume as runs of tiles, which stay in the cache while they are looked at."""

from __future__ import annotations

import operator
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer, Shaped, UInt8
from torch import Tensor

TILE_VOXELS = 1 << 11
"""Voxels that are looked at together before they are looked at one by one."""
# Values (classes times voxels) of a piece of a volume, which one worker takes at a time.
_PIECE_VALUES = 1 << 24
# Values of tiles that are summed up at a time: they stay in the cache for the next sum.
_RUN_VALUES = 1 << 20
# Values worked on one by one at a time: results larger than this come from fresh pages each time, which costs more
# than the work.
_PART_VALUES = 3 << 17
# Memory for voxels that are kept beside the volume, however small that is.
_LEAST_ROOM = 1 << 24
# Fewer are not worth the cost of a look.
_BATCH_VALUES = _PART_VALUES // 2

Voxels: TypeAlias = tuple[Int64[Tensor, " n"], Float[Tensor, "classes n"]]
"""Some voxels: their positions in the flat volume, ascending, and their class probabilities."""


@dataclass(frozen=True)
class TileSpan:
    """Tiles of equal size, one behind the other, in a flat volume: a piece of it."""

    start: int
    count: int
    tile: int

    def split(self, voxels: int) -> list[TileSpan]:
        """The same tiles, in spans of about so many voxels each."""
        step = max(1, voxels // self.tile)
        return [
            TileSpan(self.start + first * self.tile, min(step, self.count - first), self.tile)
            for first in range(0, self.count, step)
        ]

    def of(self, volume: Shaped[Tensor, "rows voxels"], which: slice | Int64[Tensor, " some"]) -> Tensor:
        """Some tiles ``(rows, some, tile)`` of a volume; copied only if they do not follow each other."""
        tiles = torch.unflatten(volume.narrow(1, self.start, self.count * self.tile), 1, (-1, self.tile))
        return tiles[:, which] if isinstance(which, slice) else take(tiles, which)


class Places(ABC):
    """Where voxels that are looked at together lie in the flat volume, one behind the other."""

    @abstractmethod
    def positions(self, index: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Positions in the volume of some of them."""

    @abstractmethod
    def paint(self, label_map: UInt8[Tensor, " voxels"], labels: UInt8[Tensor, " all"]) -> None:
        """Write labels of all of them into a flat label map."""


@dataclass(frozen=True)
class Scattered(Places):
    """Voxels at given positions."""

    given: Int64[Tensor, " all"]

    def positions(self, index: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Positions in the volume of some of them."""
        return torch.index_select(self.given, 0, index)

    def paint(self, label_map: UInt8[Tensor, " voxels"], labels: UInt8[Tensor, " all"]) -> None:
        """Write labels of all of them into a flat label map."""
        label_map.scatter_(0, self.given, labels)


@dataclass(frozen=True)
class InTiles(Places):
    """All voxels of numbered tiles."""

    span: TileSpan
    numbers: Int64[Tensor, " some"]

    def positions(self, index: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Positions in the volume of some of them."""
        span, numbers = self.span, self.numbers
        if follow_each_other(numbers):
            return index + (span.start + int(numbers[0]) * span.tile)
        offsets = span.start + (numbers - torch.arange(len(numbers), device=numbers.device)) * span.tile
        return torch.index_select(offsets, 0, index // span.tile).add_(index)

    def paint(self, label_map: UInt8[Tensor, " voxels"], labels: UInt8[Tensor, " all"]) -> None:
        """Write labels of all of them into a flat label map; NumPy copies whole tiles."""
        span = self.span
        tiles = torch.unflatten(label_map.narrow(0, span.start, span.count * span.tile), 0, (-1, span.tile))
        labels = torch.unflatten(labels, 0, (-1, span.tile))
        if tiles.device.type == "cpu":
            tiles.numpy()[self.numbers.numpy()] = labels.numpy()
        else:
            tiles.index_copy_(0, self.numbers, labels)


class Blocks(ABC):
    """A probability volume that is read tile by tile: a tensor, or a session's store."""

    num_classes: int
    num_voxels: int
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def tiles(self, span: TileSpan, which: slice | Int64[Tensor, " some"]) -> Float[Tensor, "classes some tile"]:
        """Probabilities of some tiles, in at least single precision; they last until its thread reads on."""

    def spans(self) -> list[TileSpan]:
        """The volume in pieces, the same ones whoever works on them: whole tiles, then what is left behind them."""
        whole, rest = divmod(self.num_voxels, TILE_VOXELS)
        pieces = TileSpan(0, whole, TILE_VOXELS).split(_PIECE_VALUES // self.num_classes)
        return [*pieces, TileSpan(self.num_voxels - rest, 1, rest)] if rest else pieces

    def room(self, share: float) -> int:
        """Bytes for voxels that are kept: a share of the volume in single precision, or little."""
        return max(_LEAST_ROOM, int(share * self.num_voxels * self.num_classes * 4))

    def runs(self, span: TileSpan) -> Iterator[slice]:
        """All tiles of a span, as many at a time as the cache holds."""
        step = max(1, _RUN_VALUES // (self.num_classes * span.tile))
        for first in range(0, span.count, step):
            yield slice(first, min(first + step, span.count))

    def parts(
        self, span: TileSpan, chosen: Bool[Tensor, " tiles"]
    ) -> Iterator[tuple[Int64[Tensor, " some"], Float[Tensor, "classes some tile"]]]:
        """Numbers and probabilities of the chosen tiles, as many at a time as one works on voxel by voxel."""
        numbers = places(chosen)
        step = max(1, _PART_VALUES // (self.num_classes * span.tile))
        for some in torch.split(numbers, step) if len(numbers) else ():
            yield some, self.tiles(span, slice(int(some[0]), int(some[-1]) + 1) if follow_each_other(some) else some)

    def buffer(self, some: int, tile: int) -> Float[Tensor, "classes some tile"]:
        """Room for some tiles, the same each time: large blocks given back one by one would break up the heap."""
        voxels, own = some * tile, self._own
        buffer: Tensor | None = getattr(own, "buffer", None)
        if buffer is None or buffer.shape[1] < voxels:
            own.buffer = buffer = torch.empty((self.num_classes, voxels), dtype=self.dtype, device=self.device)
        return torch.unflatten(buffer[:, :voxels], 1, (some, tile))

    @cached_property
    def _own(self) -> threading.local:
        """What each thread has for itself."""
        return threading.local()


class TensorBlocks(Blocks):
    """Blocks of a tensor ``(classes, *spatial)``, without copying it."""

    def __init__(self, probabilities: Float[Tensor, "classes *spatial"]) -> None:
        self.flat = probabilities.flatten(1)
        self.num_classes, self.num_voxels = self.flat.shape
        self.dtype = torch.promote_types(probabilities.dtype, torch.float32)
        self.device = probabilities.device

    def tiles(self, span: TileSpan, which: slice | Int64[Tensor, " some"]) -> Float[Tensor, "classes some tile"]:
        """Probabilities of some tiles; half precision is widened."""
        tiles = span.of(self.flat, which)
        return tiles if tiles.dtype == self.dtype else self.buffer(*tiles.shape[1:]).copy_(tiles)


class ChannelBlocks(TensorBlocks):
    """Blocks of one independent channel ``(*spatial)``: its complement and itself."""

    def __init__(self, channel: Float[Tensor, "*spatial"]) -> None:
        super().__init__(channel[None])
        self.num_classes = 2

    def tiles(self, span: TileSpan, which: slice | Int64[Tensor, " some"]) -> Float[Tensor, "2 some tile"]:
        """Complement and probability of some tiles."""
        (channel,) = span.of(self.flat, which)
        probabilities = self.buffer(*channel.shape)
        probabilities[1].copy_(channel)
        probabilities[0].copy_(probabilities[1]).neg_().add_(1)
        return probabilities


def joined(pieces: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Voxels]:
    """The same voxels in batches."""
    waiting: list[tuple[Tensor, Tensor]] = []
    for piece in pieces:
        if len(piece[0]):
            waiting.append(piece)
        if sum(classes.numel() for _, classes in waiting) >= _BATCH_VALUES:
            yield _concatenated(waiting)
            waiting = []
    if waiting:
        yield _concatenated(waiting)


def _concatenated(pieces: Sequence[tuple[Tensor, Tensor]]) -> Voxels:
    if len(pieces) == 1:
        return pieces[0]
    positions, classes = zip(*pieces, strict=True)
    return torch.cat(positions), torch.cat(classes, 1)


def follow_each_other(numbers: Int64[Tensor, " some"]) -> bool:
    """Whether ascending numbers, at least one, leave none out."""
    return int(numbers[-1]) - int(numbers[0]) + 1 == len(numbers)


def compared(
    how: Callable[[Any, Any], Any], one: Shaped[Tensor, "*one"], other: Shaped[Tensor, "*other"] | float
) -> Bool[Tensor, "*both"]:
    """A tensor compared by a function of `operator`; NumPy, where it can, is several times as fast."""
    if one.device.type == "cpu" and one.dtype != torch.bfloat16:
        others = other.detach().numpy() if isinstance(other, Tensor) else other
        return torch.from_numpy(how(one.detach().numpy(), others))
    found: Tensor = how(one, other)
    return found


def at_least(rows: Float[Tensor, "rows *n"], limits: Float[Tensor, " rows"]) -> Bool[Tensor, "rows *n"]:
    """Where each row reaches its limit."""
    return compared(operator.ge, rows, limits.view(-1, *(1,) * (rows.ndim - 1)))


def how_many(rows: Bool[Tensor, "rows n"]) -> Integer[Tensor, " n"]:
    """In how many rows each column holds; bytes, as long as they can hold it, are added up many at a time."""
    return rows.view(torch.uint8).sum(0, dtype=torch.uint8 if len(rows) < 256 else torch.int32)


def places(mask: Bool[Tensor, " n"]) -> Int64[Tensor, " m"]:
    """Where a mask holds; NumPy finds it several times as fast."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero().squeeze(1)


def number(mask: Bool[Tensor, "*n"]) -> int:
    """How often a mask holds; likewise."""
    return int(np.count_nonzero(mask.numpy()) if mask.device.type == "cpu" else mask.count_nonzero())


def take(rows: Shaped[Tensor, "rows n *rest"], index: Int64[Tensor, " m"]) -> Shaped[Tensor, "rows m *rest"]:
    """``rows[:, index]``, row by row: several times as fast where the rows do not follow each other in memory."""
    taken = rows.new_empty((len(rows), len(index), *rows.shape[2:]))
    for row, target in zip(rows, taken, strict=True):
        torch.index_select(row, 0, index, out=target)
    return taken
