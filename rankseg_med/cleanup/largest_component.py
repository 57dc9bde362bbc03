"""Keep the one piece of an organ that anatomy allows."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
from jaxtyping import Shaped

_CC3D_NEIGHBOURS = {2: {1: 4, 2: 8}, 3: {1: 6, 2: 18, 3: 26}}


def keep_largest_component(
    label_map: Shaped[np.ndarray, "*spatial"],
    labels: Sequence[int | Sequence[int]] | None = None,
    connectivity: int | None = None,
) -> Shaped[np.ndarray, "*spatial"]:
    """Set everything but the largest connected component to background, label by label or group by group.

    Args:
        label_map: ``(X, Y)`` or ``(X, Y, Z)`` integer or boolean; 0 is background. Left as it is.
        labels: What to clean. An entry that is a label keeps the largest component of that label; an entry that is a
            group of labels, such as ``[1, 2]`` for an organ and its tumour, keeps the largest component of their
            union, whatever the labels inside it. Labels that are not named stay untouched. ``None`` means every label
            that occurs, each on its own.
        connectivity: Largest number of axes along which neighbours may differ, as in MONAI and scikit-image: 1 for
            faces, up to the number of axes (the default) for corners too.

    Returns:
        A new label map of the same shape and dtype. Components of equal size: the first in memory order stays.
        A label that does not occur changes nothing.

    Raises:
        ValueError: Other than two or three axes, an impossible connectivity, an empty group, or the background label.
        TypeError: Not an integer or boolean label map.
    """
    if label_map.ndim not in _CC3D_NEIGHBOURS:
        raise ValueError(f"label_map must be (X, Y) or (X, Y, Z), found shape {label_map.shape}")
    if not (np.issubdtype(label_map.dtype, np.integer) or label_map.dtype == np.bool_):
        raise TypeError(f"label_map must hold integers, found {label_map.dtype}; was a probability volume passed?")
    connectivity = label_map.ndim if connectivity is None else connectivity
    if connectivity not in _CC3D_NEIGHBOURS[label_map.ndim]:
        raise ValueError(f"connectivity must be from 1 to {label_map.ndim}, found {connectivity}")

    cleaned = label_map.copy()
    targets = [int(label) for label in np.unique(label_map) if label] if labels is None else labels
    for target in targets:
        group = [target] if isinstance(target, int) else list(target)
        if not group or 0 in group:
            raise ValueError(f"labels must name foreground labels or groups of them, found {target!r}")
        mask = np.isin(label_map, group)
        components = cc3d.connected_components(mask, connectivity=_CC3D_NEIGHBOURS[label_map.ndim][connectivity])
        sizes = np.bincount(components.ravel(order="K"))
        if len(sizes) > 2:
            cleaned[mask & (components != sizes[1:].argmax() + 1)] = 0
    return cleaned
