"""Where sliding windows lie: as MONAI's ``sliding_window_inference`` has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from monai.data.utils import dense_patch_slices
from monai.utils import fall_back_tuple


@dataclass(frozen=True)
class Layer:
    """Windows that start at the same slice.

    Attributes:
        start: That slice.
        windows: Their places along the other axes.
    """

    start: int
    windows: tuple[tuple[slice, ...], ...]


@dataclass(frozen=True)
class WindowGrid:
    """The windows of one volume, layer by layer along its first axis.

    Attributes:
        shape: Shape of the volume, padded to hold a window.
        padding: Voxels added before and after, per axis.
        roi: Shape of a window.
        layers: In ascending order.
    """

    shape: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    roi: tuple[int, ...]
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, shape: Sequence[int], roi_size: Sequence[int], overlap: Sequence[float]) -> WindowGrid:
        """Lay windows over a volume.

        Args:
            shape: Shape of the volume.
            roi_size: Size of a window; an axis of 0 or less stands for the whole volume's.
            overlap: In [0, 1), per axis.
        """
        roi = tuple(fall_back_tuple(roi_size, shape))
        missing = [max(0, window - size) for window, size in zip(roi, shape, strict=True)]
        padding = tuple((n // 2, n - n // 2) for n in missing)
        padded = tuple(size + n for size, n in zip(shape, missing, strict=True))
        steps = [
            window if window == size else max(1, int(window * (1 - share)))
            for window, size, share in zip(roi, padded, overlap, strict=True)
        ]
        places = [
            tuple(slice(int(part.start), int(part.stop)) for part in place)
            for place in dense_patch_slices(padded, roi, steps)
        ]
        places.sort(key=lambda place: place[0].start)
        layers = tuple(
            Layer(start, tuple(place[1:] for place in layer))
            for start, layer in groupby(places, key=lambda place: place[0].start)
        )
        return cls(padded, padding, roi, layers)
