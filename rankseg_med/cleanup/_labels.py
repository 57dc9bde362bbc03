"""What every step makes of a label map and of the labels that it is to clean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cc3d
import numpy as np
from jaxtyping import Bool, Shaped, UInt

Labels: TypeAlias = Sequence[int | Sequence[int]]
"""Labels, each on its own, and groups of labels that are one body, such as ``[1, 2]`` for an organ and its tumour."""

_CC3D_NEIGHBOURS = {2: {1: 4, 2: 8}, 3: {1: 6, 2: 18, 3: 26}}


def check_label_map(label_map: Shaped[np.ndarray, "..."]) -> None:
    """Raise unless the label map has two or three axes (else ValueError) and holds integers (else TypeError)."""
    if label_map.ndim not in _CC3D_NEIGHBOURS:
        raise ValueError(f"label_map must be (X, Y) or (X, Y, Z), found shape {label_map.shape}; drop channel axes")
    if not (np.issubdtype(label_map.dtype, np.integer) or label_map.dtype == np.bool_):
        raise TypeError(f"label_map must hold integers, found {label_map.dtype}; was a probability volume passed?")


def groups_of(labels: Labels | None, label_map: Shaped[np.ndarray, "*spatial"]) -> list[list[int]]:
    """Every entry of ``labels`` as a group; of None, every label that occurs on its own.

    Raises:
        ValueError: An empty group, or the background label.
    """
    if labels is None:
        return [[int(label)] for label in np.unique(label_map) if label]
    groups = [[entry] if isinstance(entry, int) else list(entry) for entry in labels]
    for group in groups:
        if not group or min(group) < 1:
            raise ValueError(f"labels must be positive (0 is the background), alone or in groups, found {labels}")
    return groups


def mask_of(label_map: Shaped[np.ndarray, "*spatial"], group: Sequence[int]) -> Bool[np.ndarray, "*spatial"]:
    """Where the label map has one of the labels; two bytes a voxel at most, where `numpy.isin` takes many."""
    mask: Bool[np.ndarray, "*spatial"] = label_map == group[0]
    for label in group[1:]:
        mask |= label_map == label
    return mask


def bounding_box(image: Shaped[np.ndarray, "*spatial"]) -> tuple[slice, ...]:
    """The smallest box outside of which a mask or label map is 0; of no extent if it is 0 everywhere."""
    box = [slice(None)] * image.ndim
    for axis in range(image.ndim):
        others = tuple(other for other in range(image.ndim) if other != axis)
        occupied = np.flatnonzero(image[tuple(box)].any(axis=others))
        box[axis] = slice(int(occupied[0]), int(occupied[-1]) + 1) if occupied.size else slice(0)
    return tuple(box)


def cc3d_connectivity(connectivity: int | None, ndim: int) -> int:
    """Number of neighbours, as cc3d counts, of a connectivity as scikit-image counts; None is the largest.

    Raises:
        ValueError: Not from 1 to the number of axes.
    """
    connectivity = ndim if connectivity is None else connectivity
    if connectivity not in _CC3D_NEIGHBOURS[ndim]:
        raise ValueError(f"connectivity must be from 1 (faces) to {ndim} (corners), found {connectivity}")
    return _CC3D_NEIGHBOURS[ndim][connectivity]


def connected_components(mask: Bool[np.ndarray, "*spatial"], neighbours: int) -> UInt[np.ndarray, "*spatial"]:
    """Number the connected components from 1, by the number of neighbours that `cc3d_connectivity` gives."""
    # cc3d 4.1 splits components of views that are one voxel thick, and with corner neighbours it labels background of
    # boolean images or fails on them.
    image = np.ascontiguousarray(mask).view(np.uint8)
    components: UInt[np.ndarray, "*spatial"] = cc3d.connected_components(image, connectivity=neighbours)
    return components
