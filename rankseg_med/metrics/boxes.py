"""The part of an image that holds something, so that work follows the structures and not the image."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Shaped

Box: TypeAlias = tuple[slice, ...]
"""One slice for every axis of an image."""


def bounding_box(*images: Shaped[np.ndarray, "*spatial"]) -> Box | None:
    """The smallest box outside of which every image is zero.

    Reads each image about once and makes no array of an image's size.

    Args:
        *images: masks or label maps of one shape; at least one.

    Returns:
        The box, or None where all images are zero everywhere.
    """
    boxes = [box for box in map(_bounding_box_of_one, images) if box is not None]
    return enclosing_box(*boxes) if boxes else None


def enclosing_box(*boxes: Box) -> Box:
    """The smallest box around all of the boxes, of which there is at least one."""
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _bounding_box_of_one(image: Shaped[np.ndarray, "*spatial"]) -> Box | None:
    box = [slice(None)] * image.ndim
    # The slowest axis first: that pass reads the whole image as it lies in memory, the others read what it left.
    for axis in sorted(range(image.ndim), key=lambda axis: -abs(image.strides[axis])):
        others = tuple(other for other in range(image.ndim) if other != axis)
        occupied = np.flatnonzero(image[tuple(box)].any(axis=others))
        if not occupied.size:
            return None
        box[axis] = slice(int(occupied[0]), int(occupied[-1]) + 1)
    return tuple(box)
