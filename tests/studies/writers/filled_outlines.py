"""Outlines, filled by another program's rule."""

import numpy as np
from matplotlib.path import Path as Polygon


def filled_even_odd(outlines: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """What a program finds that asks of every voxel's centre within how many outlines it lies."""
    centres = np.indices(shape).reshape(2, -1).T
    inside = np.zeros(shape, int)
    for outline in outlines:
        inside += Polygon([*outline, outline[0]], closed=True).contains_points(centres).reshape(shape)
    return inside % 2 == 1
