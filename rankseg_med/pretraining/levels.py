"""From an explanation to a label map with weights of voxels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

LEVELS = 10
"""Into how many parts of equally many voxels an explanation is divided."""

_HIGHEST = LEVELS - 1


def quantised(
    explanation: Float[np.ndarray, "*spatial"], seen: Bool[np.ndarray, "*spatial"]
) -> UInt8[np.ndarray, "*spatial"]:
    """The decile of the voxels seen in which each one's value lies, from 0 to 9; 0 of those not seen.

    A value that equals the border between two deciles is in the lower one. So the highest has a tenth of those seen, to
    a voxel, where values differ, and fewer where they do not: of a constant map all voxels are in the lowest.

    Args:
        explanation: Any finite values.
        seen: Which voxels the classifiers saw; at least one.
    """
    values = explanation[seen].astype(np.float64)
    borders = np.quantile(values, np.arange(1, LEVELS) / LEVELS)
    levels = np.zeros(explanation.shape, np.uint8)
    levels[seen] = np.searchsorted(borders, values, side="left")
    return levels


def label_and_weight(
    levels: UInt8[np.ndarray, "*spatial"], image_class: int, seen: Bool[np.ndarray, "*spatial"]
) -> tuple[UInt8[np.ndarray, "*spatial"], Float32[np.ndarray, "*spatial"]]:
    """Label map, and how much each voxel is to count in a loss.

    Foreground is the highest level, with weight 1. The rest is background, and counts the less the higher its level
    $k$ is, $1 - k / 9$: what speaks for the class and is not foreground may belong to the structure all the same.
    Of voxels that no classifier saw nothing is known; their weight is 0.

    Args:
        levels: Of `quantised`.
        image_class: Class of the image; 0 for that of images without any structure.
        seen: Which voxels the classifiers saw.

    Returns:
        Labels 0 and ``image_class``, and weights in [0, 1]. Of class 0 all is background of weight 1. Of an image of
        another class whose explanation has no highest level nothing is known: all weights are 0.
    """
    if image_class == 0:
        return np.zeros_like(levels), np.ones(levels.shape, np.float32)
    foreground = levels == _HIGHEST
    if not foreground.any():
        return np.zeros_like(levels), np.zeros(levels.shape, np.float32)
    weight = np.where(foreground, 1, seen * (1 - levels / _HIGHEST)).astype(np.float32)
    return np.where(foreground, image_class, 0).astype(np.uint8), weight
