"""Resampling along one axis at a time: every output slice is a weighted sum of few input slices."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

Beyond = Literal["border", "zeros"]

# Coordinates come from affines; their rounding must not move a voxel's centre or the middle of two.
_DECIMALS = 9


@dataclass(frozen=True)
class AxisTaps:
    """A sparse linear map between two grids along one axis: ``output[i] = sum(weight[i] * input[index[i]])``.

    Attributes:
        index: Input slices, ``(size, taps)``.
        weight: Weight of each of them, 0 for what lies beyond the input.
        source_size: Slices of the input.
    """

    index: Int64[Tensor, "size taps"]
    weight: Shaped[Tensor, "size taps"]
    source_size: int

    @classmethod
    def linear(cls, coordinates: Float64[Tensor, " size"], source_size: int, beyond: Beyond) -> AxisTaps:
        """Interpolate linearly.

        Args:
            coordinates: Where each output slice lies, counted in input slices.
            source_size: Slices of the input.
            beyond: What lies outside the input: its outermost slice (``"border"``) or zeros.
        """
        coordinates = _within(coordinates, source_size, beyond)
        below = coordinates.floor()
        share = coordinates - below
        return cls._of(torch.stack([below, below + 1], 1), torch.stack([1 - share, share], 1), source_size)

    @classmethod
    def nearest(cls, coordinates: Float64[Tensor, " size"], source_size: int, beyond: Beyond) -> AxisTaps:
        """Take the nearest input slice, of two at the same distance the even one; arguments as for `linear`."""
        rounded = _within(coordinates, source_size, beyond).round()[:, None]
        return cls._of(rounded, torch.ones_like(rounded), source_size)

    @classmethod
    def _of(cls, index: Float64[Tensor, "size taps"], weight: Float64[Tensor, "size taps"], source: int) -> AxisTaps:
        weight = weight * ((index >= 0) & (index < source))
        return cls(index.clamp(0, source - 1).long(), weight, source)._without_idle_taps()

    @property
    def size(self) -> int:
        """Slices of the output."""
        return len(self.index)

    @property
    def is_identity(self) -> bool:
        """Whether the output is the input."""
        same = torch.arange(self.source_size)[:, None]
        return torch.equal(self.index.cpu(), same) and bool((self.weight == 1).all())

    def after(self, first: AxisTaps) -> AxisTaps:
        """The map that is ``first`` and then this one."""
        index = first.index[self.index].flatten(1)
        weight = (self.weight[:, :, None] * first.weight[self.index]).flatten(1)
        return AxisTaps(index, weight, first.source_size)._without_idle_taps()

    def like(self, values: Tensor) -> AxisTaps:
        """The same map on the device and in the dtype of some values."""
        return AxisTaps(self.index.to(values.device), self.weight.to(values), self.source_size)

    def __call__(self, values: Shaped[Tensor, "..."], axis: int) -> Shaped[Tensor, "..."]:
        """Resample one axis of values that have this map's dtype (see `like`)."""
        along = [1] * values.ndim
        along[axis] = -1
        taken = (_taken(values, index, axis) for index in self.index.unbind(1))
        weights = (weight.view(along) for weight in self.weight.unbind(1))
        output = next(taken).mul_(next(weights))
        for more, weight in zip(taken, weights, strict=True):
            output.addcmul_(more, weight)
        return output

    def _without_idle_taps(self) -> AxisTaps:
        used = (self.weight != 0).any(0)
        used[0] |= not used.any()
        return AxisTaps(self.index[:, used], self.weight[:, used], self.source_size)


def resample_slices(
    slices: Iterable[Shaped[Tensor, "channels *plane"]], across: AxisTaps, within: Sequence[AxisTaps]
) -> Iterator[tuple[int, Shaped[Tensor, "channels *new_plane"]]]:
    """Resample a volume that comes slice by slice, holding only the slices that are still needed.

    Args:
        slices: Slices of the input, in ascending order, all of one dtype and on one device.
        across: For the axis along which they follow each other; must rise or fall throughout.
        within: For the axes of a slice.

    Yields:
        Number and values of each output slice, as soon as the input slices under it are there: in ascending order, or
        in descending order where ``across`` falls. Not to be written to.
    """
    used = across.weight != 0
    needed = set(across.index[used].tolist())
    first = torch.where(used, across.index, across.source_size).amin(1).tolist()
    last = torch.where(used, across.index, -1).amax(1).tolist()
    order = _order_of_completion(last)
    # The lowest input slice under an output slice and all that follow it.
    needed_from = dict(zip(reversed(order), accumulate((first[n] for n in reversed(order)), min), strict=True))
    waiting = deque(order)

    held: dict[int, Tensor] = {}
    maps: list[tuple[int, AxisTaps]] | None = None
    position = -1
    for position, plane in enumerate(slices):
        if maps is None:
            maps = [(axis, taps.like(plane)) for axis, taps in enumerate(within, 1) if not taps.is_identity]
        if position in needed:
            held[position] = _resampled(plane, maps)
        while waiting and last[waiting[0]] <= position:
            number = waiting.popleft()
            taps = zip(across.index[number].tolist(), across.weight[number].tolist(), strict=True)
            shares = [(held[index], weight) for index, weight in taps if weight]
            yield number, _weighted_sum(shares) if shares else plane.new_zeros((len(plane), *(t.size for t in within)))
            for done in [index for index in held if not waiting or index < needed_from[waiting[0]]]:
                del held[done]
    if waiting:
        raise ValueError(f"the input must have {across.source_size} slices, got {position + 1}")


def _order_of_completion(last: Sequence[int]) -> list[int]:
    """Output slices in the order in which they are complete, given the last input slice under each, -1 for none."""
    reached = [position for position in last if position >= 0]
    falls = bool(reached) and reached[0] > reached[-1]
    return list(reversed(range(len(last))) if falls else range(len(last)))


def _within(coordinates: Float64[Tensor, " size"], source_size: int, beyond: Beyond) -> Float64[Tensor, " size"]:
    coordinates = coordinates.round(decimals=_DECIMALS)
    return coordinates.clamp(0, source_size - 1) if beyond == "border" else coordinates


def _taken(values: Tensor, index: Int64[Tensor, " size"], axis: int) -> Tensor:
    """Some slices along an axis: rows are copied as a whole, but of a row ``gather`` is faster at taking voxels."""
    if axis % values.ndim < values.ndim - 1:
        return values.index_select(axis, index)
    return values.gather(axis, index.expand(*values.shape[:-1], -1))


def _resampled(plane: Tensor, maps: Sequence[tuple[int, AxisTaps]]) -> Tensor:
    for axis, taps in maps:
        plane = taps(plane, axis)
    return plane


def _weighted_sum(shares: Sequence[tuple[Tensor, float]]) -> Tensor:
    """Weighted sum of slices; no copy where one counts alone."""
    (plane, weight), *others = shares
    if not others and weight == 1:
        return plane
    total = plane * weight
    for plane, weight in others:
        total.add_(plane, alpha=weight)
    return total
