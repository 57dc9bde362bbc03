"""Overlap of two masks: Dice and Jaccard."""

import math

import numpy as np
from jaxtyping import Bool

from rankseg_med.metrics._checks import check_masks


def dice(prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."]) -> float:
    """Dice similarity coefficient of two masks.

    ``Dice = 2 |P and R| / (|P| + |R|)`` (Dice, Ecology 26, 1945).

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.

    Returns:
        A score in [0, 1]; 1 is identity. 0 when exactly one mask is empty; NaN (0/0) when both are:
        `EmptyPolicy` says what a benchmark makes of that.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, or are not of two or three axes.
    """
    check_masks(prediction, reference)
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return float(2 * np.count_nonzero(prediction & reference) / total) if total else math.nan


def jaccard(prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."]) -> float:
    """Jaccard index of two masks, also known as intersection over union (IoU).

    ``Jaccard = |P and R| / |P or R| = Dice / (2 - Dice)`` (Jaccard, New Phytologist 11, 1912).

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.

    Returns:
        A score in [0, 1]; 1 is identity. 0 when exactly one mask is empty; NaN (0/0) when both are:
        `EmptyPolicy` says what a benchmark makes of that.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, or are not of two or three axes.
    """
    check_masks(prediction, reference)
    union = np.count_nonzero(prediction | reference)
    return float(np.count_nonzero(prediction & reference) / union) if union else math.nan
