"""Keep only what has its organ: a tumour far from the organ that it grows in is a false positive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from rankseg_med.cleanup._labels import Labels, check_label_map, groups_of, mask_of
from rankseg_med.masks import bounding_box, connected_components


def keep_touching(
    label_map: Shaped[np.ndarray, "..."],
    labels: Labels,
    organ: int | Sequence[int],
    connectivity: int | None = None,
) -> Shaped[np.ndarray, "..."]:
    """Set the components of labels that neither touch nor lie in their organ to background.

    Args:
        label_map: ``(X, Y)`` or ``(X, Y, Z)`` integer or boolean; 0 is background. Left as it is.
        labels: What to clean, such as ``[2]`` for tumours. A group, such as ``[2, 3]`` for the core and the rim of a
            tumour, is one body: it stays whole if any voxel of it touches.
        organ: The label, or labels, that each component must be a neighbour of.
        connectivity: Largest number of axes along which neighbours may differ: 1 for faces, up to the number of axes
            (the default) for corners too. Of components and of touching alike.

    Returns:
        A new label map of the same shape and dtype. Where the organ does not occur, none of ``labels`` stays.

    Raises:
        ValueError: Other than two or three axes, an impossible connectivity, an empty group, the background label, or
            a label that is to be kept by touching itself.
        TypeError: Not an integer or boolean label map.
    """
    check_label_map(label_map, connectivity)
    (organ_group,) = groups_of([organ], label_map)
    cleaned = label_map.copy()
    foreground = cleaned[bounding_box(label_map)]
    organ_mask = mask_of(foreground, organ_group)
    for group in groups_of(labels, label_map):
        if set(group) & set(organ_group):
            raise ValueError(f"labels and organ must differ, got {group} and {organ_group}")
        mask = mask_of(foreground, group)
        # A component of the group touches the organ if and only if, joined with it, it has organ voxels: on the way
        # to one, the first voxel outside the component must be of the organ.
        joined = connected_components(mask | organ_mask, connectivity)
        has_organ = np.zeros(int(joined.max(initial=0)) + 1, dtype=bool)
        has_organ[joined[organ_mask]] = True
        mask[mask] = ~has_organ[joined[mask]]
        foreground[mask] = 0
    return cleaned
