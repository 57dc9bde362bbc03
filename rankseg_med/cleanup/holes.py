"""Fill what a body encloses."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from rankseg_med.cleanup._labels import Labels, check_label_map, groups_of, mask_of
from rankseg_med.masks import bounding_box, connected_components


def fill_holes(
    label_map: Shaped[np.ndarray, "..."], labels: Labels | None = None, overwrite: bool = False
) -> Shaped[np.ndarray, "..."]:
    """Give background that a label or group encloses the label of the organ.

    A hole is a region of voxels that touch by faces (6 neighbours in 3-D, 4 in 2-D) outside the body and that does not
    reach the border of the image, as in `scipy.ndimage.binary_fill_holes`. Of a volume, a cavity that is open along
    any axis is no hole.

    Args:
        label_map: ``(X, Y)`` or ``(X, Y, Z)`` integer or boolean; 0 is background. Left as it is.
        labels: What to fill, one entry after the other. A label is filled with itself; a group, such as ``[1, 2]`` for
            an organ and its tumour, encloses as one body and is filled with its first label. ``None`` means every
            label that occurs, each on its own, in rising order.
        overwrite: Whether other labels inside a hole are filled too; by default only background is.

    Returns:
        A new label map of the same shape and dtype.

    Raises:
        ValueError: Other than two or three axes, an empty group, or the background label.
        TypeError: Not an integer or boolean label map.
    """
    check_label_map(label_map)
    filled = label_map.copy()
    foreground = filled[bounding_box(label_map)]
    for group in groups_of(labels, foreground):
        # The margin joins all that reaches the border, so that is one component with the first voxel.
        outside = np.pad(~mask_of(foreground, group), 1, constant_values=True)
        regions = connected_components(outside, 1)
        hole = outside & (regions != regions.flat[0])
        hole = hole[(slice(1, -1),) * label_map.ndim]
        foreground[hole if overwrite else hole & (foreground == 0)] = group[0]
    return filled
