"""What every step makes of a label map and of the labels that it is to clean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Shaped

from rankseg_med.masks import count_neighbours

Labels: TypeAlias = Sequence[int | Sequence[int]]
"""Labels, each on its own, and groups of labels that are one body, such as ``[1, 2]`` for an organ and its tumour."""


def check_label_map(label_map: Shaped[np.ndarray, "..."], connectivity: int | None = None) -> None:
    """Raise unless a label map holds integers (TypeError) and has 2 or 3 axes that allow the connectivity."""
    if label_map.ndim not in (2, 3):
        raise ValueError(f"label_map must be (X, Y) or (X, Y, Z), got shape {label_map.shape}; drop channel axes")
    if not (np.issubdtype(label_map.dtype, np.integer) or label_map.dtype == np.bool_):
        raise TypeError(f"label_map must hold integers, got {label_map.dtype}; was a probability volume passed?")
    count_neighbours(label_map.ndim, connectivity)


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
            raise ValueError(f"labels must be positive (0 is the background), alone or in groups, got {labels}")
    return groups


def mask_of(label_map: Shaped[np.ndarray, "*spatial"], group: Sequence[int]) -> Bool[np.ndarray, "*spatial"]:
    """Where the label map has one of the labels; two bytes a voxel at most, where `numpy.isin` takes many."""
    mask: Bool[np.ndarray, "*spatial"] = label_map == group[0]
    for label in group[1:]:
        mask |= label_map == label
    return mask
