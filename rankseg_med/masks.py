"""What several rooms ask of a mask: the box around it, and its connected components."""

from __future__ import annotations

from typing import TypeAlias

import cc3d
import numpy as np
from jaxtyping import Bool, Shaped, UInt

Box: TypeAlias = tuple[slice, ...]
"""One slice for every axis of an image."""

# By the number of axes, then by the number of those along which neighbours may differ.
_NEIGHBOURS = {2: {1: 4, 2: 8}, 3: {1: 6, 2: 18, 3: 26}}


def bounding_box(*images: Shaped[np.ndarray, "*spatial"]) -> Box:
    """The smallest box outside of which every image is zero.

    Reads each image about once and makes no array of an image's size.

    Args:
        *images: masks or label maps of one shape; at least one.

    Returns:
        The box; of no extent, from 0 to 0 along every axis, where all images are zero everywhere.
    """
    box = [slice(None)] * images[0].ndim
    # The slowest axis first: that pass reads the whole image as it lies in memory, the others read what it left.
    for axis in sorted(range(len(box)), key=lambda axis: -abs(images[0].strides[axis])):
        others = tuple(other for other in range(len(box)) if other != axis)
        occupied = np.flatnonzero(np.any([image[tuple(box)].any(axis=others) for image in images], axis=0))
        box[axis] = slice(int(occupied[0]), int(occupied[-1]) + 1) if occupied.size else slice(0, 0)
    return tuple(box)


def count_neighbours(ndim: int, connectivity: int | None = None) -> int:
    """Number of neighbours of a voxel, as cc3d names connectivities.

    Args:
        ndim: number of axes, 2 or 3.
        connectivity: largest number of axes along which neighbours may differ, as in MONAI and scikit-image: 1 for
            faces, up to the number of axes (the default) for corners too.

    Raises:
        ValueError: other than two or three axes, or a connectivity that does not fit them.
    """
    if ndim not in _NEIGHBOURS:
        raise ValueError(f"a mask must have 2 or 3 spatial axes, got {ndim}; drop channel axes")
    connectivity = ndim if connectivity is None else connectivity
    if connectivity not in _NEIGHBOURS[ndim]:
        raise ValueError(
            f"connectivity must be from 1 (faces) to {ndim} (corners), got {connectivity}; "
            "for 6 neighbours in 3-D pass 1, for 26 pass 3"
        )
    return _NEIGHBOURS[ndim][connectivity]


def connected_components(
    mask: Bool[np.ndarray, "*spatial"], connectivity: int | None = None
) -> UInt[np.ndarray, "*spatial"]:
    """Number the connected components of a mask.

    Args:
        mask: boolean ``(X, Y)`` or ``(X, Y, Z)``; may be empty.
        connectivity: see `count_neighbours`.

    Returns:
        An array of the mask's shape: 0 is background, components are numbered from 1 without gaps.

    Raises:
        TypeError: the mask is not boolean.
        ValueError: other than two or three axes, or a connectivity that does not fit them.
    """
    if mask.dtype != np.bool_:
        raise TypeError(f"the mask must be boolean, got dtype {mask.dtype}; select one class first: label_map == 2")
    # cc3d 4.1 splits components of views that are one voxel thick, and with corner neighbours it labels background of
    # boolean images or fails on them.
    image = np.ascontiguousarray(mask).view(np.uint8)
    components: UInt[np.ndarray, "*spatial"] = cc3d.connected_components(
        image, connectivity=count_neighbours(mask.ndim, connectivity)
    )
    return components
