"""Remove what is too small to be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from rankseg_med.cleanup._labels import Labels, check_label_map, groups_of, mask_of
from rankseg_med.masks import bounding_box, connected_components

# Spacings that come from an affine are rounded, and that must not decide about a component of just the minimum.
_ROUNDING_VOXELS = 1e-3


def remove_small_components(
    label_map: Shaped[np.ndarray, "..."],
    spacing_mm: Sequence[float],
    minimum_ml: float,
    labels: Labels | None = None,
    connectivity: int | None = None,
) -> Shaped[np.ndarray, "..."]:
    """Set connected components of less than a volume to background.

    A component removed from inside an organ leaves a hole in it: let `fill_holes` of the organ follow.

    Args:
        label_map: ``(X, Y)`` or ``(X, Y, Z)`` integer or boolean; 0 is background. Left as it is.
        spacing_mm: Distance of neighbouring voxels along each axis, in mm.
        minimum_ml: Smallest volume in millilitres that stays.
        labels: What to clean; a group of labels counts as one body, of one volume. ``None`` means every label that
            occurs, each on its own.
        connectivity: Largest number of axes along which neighbours may differ: 1 for faces, up to the number of axes
            (the default) for corners too.

    Returns:
        A new label map of the same shape and dtype.

    Raises:
        ValueError: Other than two or three axes, a spacing that does not fit them, a negative volume, an impossible
            connectivity, an empty group, or the background label.
        TypeError: Not an integer or boolean label map.
    """
    check_label_map(label_map, connectivity)
    if len(spacing_mm) != label_map.ndim or not all(0 < step < math.inf for step in spacing_mm):
        raise ValueError(f"spacing_mm must be {label_map.ndim} positive numbers, got {tuple(spacing_mm)}")
    if not 0 <= minimum_ml < math.inf:
        raise ValueError(f"minimum_ml must be a volume in millilitres, 0 or more, got {minimum_ml}")
    voxel_ml = math.prod(spacing_mm) / 1000
    minimum_voxels = math.ceil(minimum_ml / voxel_ml - _ROUNDING_VOXELS)
    cleaned = label_map.copy()
    foreground = cleaned[bounding_box(label_map)]
    for group in groups_of(labels, foreground):
        mask = mask_of(foreground, group)
        components = connected_components(mask, connectivity)[mask]
        mask[mask] = np.bincount(components)[components] < minimum_voxels
        foreground[mask] = 0
    return cleaned
