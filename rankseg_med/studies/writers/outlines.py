"""Masks as closed outlines, one for each connected part, which holes are joined to."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from skimage.measure import find_contours, label, regionprops

# Outlines pass 0.4 of a voxel outside of the centres that they hold: every centre is clearly within or without, and
# programs that round to whole voxels, as rt-utils does, come to the outermost voxels within.
_LEVEL = 0.6


def outlines_of(mask: Bool[np.ndarray, "X Y"]) -> list[Float[np.ndarray, "points 2"]]:
    """Closed outlines of a mask, within which the centres of its voxels lie and no others.

    Parts that touch at corners alone have outlines of their own. A hole is joined to what is around it by a way that is
    gone there and back (a keyhole), since not all programs take one outline within another for a hole.

    Returns:
        Points in voxel indices, for each outline; the last is joined to the first. None for an empty mask.
    """
    parts = regionprops(label(mask, connectivity=1))
    return [_outline(part.image) + np.array(part.bbox[:2]) for part in parts]


def _outline(part: Bool[np.ndarray, "X Y"]) -> Float[np.ndarray, "points 2"]:
    """The outline of one connected part."""
    # Each begins where it ends, and says so twice.
    rings = [ring[:-1] - 1 for ring in find_contours(np.pad(part, 1).astype(float), _LEVEL)]
    # In this order whatever lies in the way from a hole down to lower Y is joined already.
    outer: np.ndarray
    outer, *holes = sorted(rings, key=lambda ring: float(ring[:, 1].min()))
    for hole in holes:
        outer = _joined(outer, hole)
    return outer


def _joined(outer: Float[np.ndarray, "points 2"], hole: Float[np.ndarray, "more 2"]) -> Float[np.ndarray, "all 2"]:
    """One ring of two, by a way from the hole's lowest point down along Y, halfway between the centres of voxels."""
    first = int(hole[:, 1].argmin())
    x, y = hole[first] + (0.5, _LEVEL - 1)
    edge, end = _next_below(outer, float(x), float(y))
    # The way begins and ends at voxels that are within, for those who round.
    way = np.array([[x, np.ceil(end)], [x, y]])
    before, after = outer[: edge + 1], outer[edge:]
    around = np.roll(hole, -first, axis=0)
    joined: np.ndarray = np.concatenate([before, way, around, around[:1], way[::-1], after])
    return joined


def _next_below(ring: Float[np.ndarray, "points 2"], x: float, y: float) -> tuple[int, float]:
    """Where a ring comes next on the way down along Y from a place, whose X is none of its points'.

    Returns:
        After which of its points, and at which Y.
    """
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    edges = np.flatnonzero((x0 < x) != (x1 < x))
    heights = y0[edges] + (x - x0[edges]) / (x1 - x0)[edges] * (y1 - y0)[edges]
    nearest = int(np.where(heights < y, heights, -np.inf).argmax())
    return int(edges[nearest]), float(heights[nearest])
