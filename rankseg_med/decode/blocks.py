"""A probability volume as runs of tiles, which stay in the cache while they are looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

TILE_VOXELS = 1 << 11
"""Voxels that are looked at together before they are looked at one by one."""
# Values (classes times voxels) read at a time.
_RUN_VALUES = 3 << 20
# Values worked on one by one at a time: results larger than this come from fresh pages each time, which costs more
# than the work.
_PART_VALUES = 3 << 17


class Blocks(ABC):
    """A probability volume that is read in runs of voxels: a tensor, or a session's store."""

    num_classes: int
    num_voxels: int
    dtype: torch.dtype
    device: torch.device

    _buffer: Tensor | None = None

    @abstractmethod
    def read(self, start: int, stop: int) -> Float[Tensor, "classes n"]:
        """Probabilities of a run of voxels, in at least single precision; they last until the next reading."""

    def buffer(self, voxels: int) -> Float[Tensor, "classes n"]:
        """Room for a run, the same each time: large blocks given back one by one would leave the heap in pieces."""
        if self._buffer is None or self._buffer.shape[1] < voxels:
            self._buffer = torch.empty((self.num_classes, voxels), dtype=self.dtype, device=self.device)
        return self._buffer[:, :voxels]

    def runs(self) -> Iterator[tuple[int, int]]:
        """Start and stop of runs of whole tiles, and of what is left behind the last whole tile."""
        whole = self.num_voxels // TILE_VOXELS * TILE_VOXELS
        step = max(1, _RUN_VALUES // self.num_classes // TILE_VOXELS) * TILE_VOXELS
        for start in range(0, whole, step):
            yield start, min(start + step, whole)
        if whole < self.num_voxels:
            yield whole, self.num_voxels

    def tiles(self, start: int, stop: int) -> Float[Tensor, "classes tiles tile"]:
        """Probabilities of a run, tile by tile."""
        return torch.unflatten(self.read(start, stop), 1, (-1, min(TILE_VOXELS, stop - start)))


class TensorBlocks(Blocks):
    """Blocks of a tensor ``(classes, *spatial)``, without copying it."""

    def __init__(self, probabilities: Float[Tensor, "classes *spatial"]) -> None:
        self.flat = probabilities.flatten(1)
        self.num_classes, self.num_voxels = self.flat.shape
        self.dtype = torch.promote_types(probabilities.dtype, torch.float32)
        self.device = probabilities.device

    def read(self, start: int, stop: int) -> Float[Tensor, "classes n"]:
        """Probabilities of a run of voxels; half precision is widened."""
        run = self.flat[:, start:stop]
        return run if run.dtype == self.dtype else self.buffer(stop - start).copy_(run)


class ChannelBlocks(TensorBlocks):
    """Blocks of one independent channel ``(*spatial)``: its complement and itself."""

    def __init__(self, channel: Float[Tensor, "*spatial"]) -> None:
        super().__init__(channel[None])
        self.num_classes = 2

    def read(self, start: int, stop: int) -> Float[Tensor, "2 n"]:
        """Complement and probability of a run of voxels."""
        probabilities = self.buffer(stop - start)
        probabilities[1].copy_(self.flat[0, start:stop])
        probabilities[0].copy_(probabilities[1]).neg_().add_(1)
        return probabilities


def parts(
    tiles: Float[Tensor, "classes tiles tile"], chosen: Bool[Tensor, " tiles"]
) -> Iterator[tuple[Int64[Tensor, " some"], Float[Tensor, "classes some tile"]]]:
    """Numbers and values of the chosen tiles, a few tiles at a time; copied only if some tiles are left out."""
    numbers = chosen.nonzero().squeeze(1)
    classes, count, tile = tiles.shape
    step = max(1, _PART_VALUES // (classes * tile))
    for some in torch.split(numbers, step) if len(numbers) else ():
        yield some, tiles.narrow(1, int(some[0]), len(some)) if len(numbers) == count else take(tiles, some)


def take(rows: Shaped[Tensor, "rows n *rest"], index: Int64[Tensor, " m"]) -> Shaped[Tensor, "rows m *rest"]:
    """``rows[:, index]``, row by row: several times as fast where the rows do not follow each other in memory."""
    taken = rows.new_empty((len(rows), len(index), *rows.shape[2:]))
    for row, target in zip(rows, taken, strict=True):
        torch.index_select(row, 0, index, out=target)
    return taken
