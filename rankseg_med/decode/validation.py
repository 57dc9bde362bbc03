"""Telling a probability volume from what people pass by mistake."""

from __future__ import annotations

from collections import deque

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankseg_med.decode.blocks import TensorBlocks, TileSpan
from rankseg_med.decode.workers import in_order, on_workers

MAX_CLASSES = 256
RANGE_TOLERANCE = 1e-4
"""How far float rounding and interpolation may leave [0, 1]; such values have the level of 0 or of 1."""
SUM_TOLERANCE = 1e-2
"""How far the classes' sum may be from 1; float16 and bfloat16 volumes need some of it."""
_REQUIRED = "a probability volume (classes, *spatial)"


def check_probabilities(probabilities: Float[Tensor, "classes *spatial"]) -> None:
    """Raise unless the tensor is a multiclass probability volume.

    Args:
        probabilities: ``(classes, *spatial)`` float16, bfloat16, float32 or float64; at least two classes (class 0 is
            the background) and at most 256, at least one spatial axis and one voxel; every value in [0, 1]; classes
            summing to one in every voxel.

    Raises:
        TypeError: Not a floating tensor.
        ValueError: Anything else; the message says what was found and what was probably meant.
    """
    check_layout(probabilities)
    check_values(probabilities)


def check_layout(probabilities: Float[Tensor, "classes *spatial"], *, exclusive: bool = True) -> None:
    """The part of `check_probabilities` that looks at dtype and shape only.

    Args:
        probabilities: ``(classes, *spatial)``.
        exclusive: Whether classes exclude each other; otherwise one channel will do.
    """
    if not isinstance(probabilities, Tensor) or not probabilities.dtype.is_floating_point:
        found = probabilities.dtype if isinstance(probabilities, Tensor) else type(probabilities).__name__
        raise TypeError(f"{_REQUIRED} must be a floating-point tensor, got {found}; was a label map passed?")
    shape = tuple(probabilities.shape)
    if probabilities.ndim < 2:
        raise ValueError(f"{_REQUIRED} needs a class axis and at least one spatial axis, got shape {shape}")
    if exclusive and shape[0] < 2:
        raise ValueError(
            f"{_REQUIRED} needs at least two classes, got shape {shape}; "
            "for one foreground class stack background and foreground: torch.cat([1 - p, p])"
        )
    if shape[0] > MAX_CLASSES:
        raise ValueError(
            f"{_REQUIRED} may have at most {MAX_CLASSES} classes (label maps are uint8), got shape {shape}; "
            "is the class axis first?"
        )
    if probabilities.numel() == 0:
        raise ValueError(f"{_REQUIRED} needs at least one voxel, got shape {shape}")


def check_values(probabilities: Float[Tensor, "classes *spatial"], *, exclusive: bool = True) -> None:
    """The part of `check_probabilities` that looks at values.

    Args:
        probabilities: ``(classes, *spatial)``.
        exclusive: Whether the classes must sum to one in every voxel.
    """
    check, blocks = ValueCheck(exclusive=exclusive), TensorBlocks(probabilities)

    def look_at(span: TileSpan) -> None:
        runs = (blocks.tiles(span, run) for run in blocks.runs(span))
        lows, highs = zip(*((tiles.amin(-1), tiles.amax(-1)) for tiles in runs), strict=True)
        for _, tiles in blocks.parts(span, check.see(torch.cat(lows, 1), torch.cat(highs, 1))):
            check.add_up(tiles)

    pieces = blocks.spans()
    on_workers(lambda: deque(in_order(look_at, pieces), maxlen=0), blocks.device, len(pieces))
    check.conclude()


class ValueCheck:
    """Looks at the values of a volume tile by tile, in any thread; one verdict at the end.

    Args:
        exclusive: Whether the classes must sum to one in every voxel.
    """

    def __init__(self, *, exclusive: bool = True) -> None:
        self.exclusive = exclusive
        self._extremes: list[Float[Tensor, " 2"]] = []
        self._extreme_sums: list[Float[Tensor, " 2"]] = []

    def see(
        self, lows: Float[Tensor, "classes tiles"], highs: Float[Tensor, "classes tiles"]
    ) -> Bool[Tensor, " tiles"]:
        """Take note of the extremes of each class in some tiles.

        Returns:
            Which tiles must be added up: where even the extremes of a tile's classes sum to one, so do its voxels.
        """
        self._extremes.append(torch.stack([lows.amin(), -highs.amax()]))
        if not self.exclusive:
            return torch.zeros_like(lows[0], dtype=torch.bool)
        return (lows.sum(0) < 1 - SUM_TOLERANCE) | (highs.sum(0) > 1 + SUM_TOLERANCE)

    def add_up(self, tiles: Float[Tensor, "classes tiles tile"]) -> None:
        """Take note of the sums over classes."""
        low_sum, high_sum = tiles.sum(0).aminmax()
        self._extreme_sums.append(torch.stack([low_sum, -high_sum]))

    def conclude(self) -> None:
        """Raise if anything seen was no probability volume.

        Raises:
            ValueError: NaN or infinite values, values outside [0, 1], or classes that do not sum to one.
        """
        # amin hands NaN on, so that one comparison sees it, and one copy serves a volume on a GPU.
        low, high = torch.stack(self._extremes).amin(0).tolist()
        high = -high
        if not (low > -torch.inf and high < torch.inf):
            raise ValueError(
                f"{_REQUIRED} must be finite, got NaN or infinite values; "
                "look for overflow in the network (mixed precision?) or unfilled regions of the volume"
            )
        if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
            meant = "torch.softmax(logits, dim=0)" if self.exclusive else "torch.sigmoid(logits)"
            raise ValueError(
                f"{_REQUIRED} must lie in [0, 1], got values from {low:.6g} to {high:.6g}; "
                f"these look like logits: apply {meant} first"
            )
        if not self._extreme_sums:
            return
        low_sum, high_sum = torch.stack(self._extreme_sums).amin(0).tolist()
        high_sum = -high_sum
        if low_sum < 1 - SUM_TOLERANCE or high_sum > 1 + SUM_TOLERANCE:
            raise ValueError(
                f"{_REQUIRED} must sum to one over its classes in every voxel, "
                f"got sums from {low_sum:.6g} to {high_sum:.6g}; was the softmax missing, a sigmoid used in its "
                "place, or is the class axis not the first?"
            )
