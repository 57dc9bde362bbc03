"""Keep the one piece of an organ that anatomy allows."""

from __future__ import annotations

import cc3d
import numpy as np
from jaxtyping import Bool, Shaped

from rankseg_med.cleanup._labels import Labels, check_label_map, groups_of, mask_of
from rankseg_med.masks import bounding_box, connected_components


def keep_largest_component(
    label_map: Shaped[np.ndarray, "*spatial"],
    labels: Labels | None = None,
    connectivity: int | None = None,
) -> Shaped[np.ndarray, "*spatial"]:
    """Set everything but the largest connected component to background, label by label or group by group.

    Args:
        label_map: ``(X, Y)`` or ``(X, Y, Z)`` integer or boolean; 0 is background. Left as it is.
        labels: What to clean. An entry that is a label keeps the largest component of that label; an entry that is a
            group of labels, such as ``[1, 2]`` for an organ and its tumour, keeps the largest component of their
            union, whatever the labels inside it. Entries are dealt with in their order, each on what the ones before
            have left. Labels that are not named stay untouched. ``None`` means every label that occurs, each on its
            own.
        connectivity: Largest number of axes along which neighbours may differ, as in MONAI and scikit-image: 1 for
            faces, up to the number of axes (the default) for corners too.

    Returns:
        A new label map of the same shape and dtype. Components of equal size: the first in memory order stays.
        A label that does not occur changes nothing.

    Raises:
        ValueError: Other than two or three axes, an impossible connectivity, an empty group, or the background label.
        TypeError: Not an integer or boolean label map.
    """
    check_label_map(label_map, connectivity)
    cleaned = label_map.copy()
    for group in groups_of(labels, label_map):
        mask = mask_of(cleaned, group)
        box = bounding_box(mask)
        _keep_largest(cleaned[box], mask[box], connectivity)
    return cleaned


def _keep_largest(
    cleaned: Shaped[np.ndarray, "*box"], mask: Bool[np.ndarray, "*box"], connectivity: int | None
) -> None:
    """Set to 0, in place, what belongs to the mask but not to its largest component."""
    if not mask.size:  # the label does not occur
        return
    components = connected_components(mask, connectivity)
    sizes = cc3d.statistics(components, no_slice_conversion=True)["voxel_counts"][1:]
    if len(sizes) > 1:
        largest = sizes.argmax() + 1
        # Slice by slice, for the sake of memory.
        for labels, pieces in zip(cleaned, components, strict=True):
            labels[(pieces != 0) & (pieces != largest)] = 0
