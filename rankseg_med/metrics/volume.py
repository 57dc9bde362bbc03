"""Volumes of masks, and how far the predicted one is off."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from rankseg_med.metrics._checks import check_masks, check_spacing


def volume_ml(mask: Bool[np.ndarray, "..."], spacing_mm: Sequence[float]) -> float:
    """Volume of a mask: its voxels times the volume of one.

    Args:
        mask: boolean mask ``(X, Y, Z)``; or ``(X, Y)``, taken as a slice of 1 mm.
        spacing_mm: distance of neighbouring voxels along each axis, in mm.

    Returns:
        Millilitres; 0 for an empty mask.

    Raises:
        ValueError: the spacing does not fit the mask.
    """
    check_spacing(spacing_mm, mask.ndim)
    return float(np.count_nonzero(mask) * math.prod(spacing_mm) / 1000)


def relative_volume_difference(prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."]) -> float:
    """Signed difference of the volumes, relative to the reference.

    ``RVD = (|P| - |R|) / |R|`` (Heimann et al., IEEE Trans Med Imaging 28, 2009, as a fraction), MedPy's
    ``ravd(prediction, reference)``. The LiTS script hands MedPy the masks the other way round, and so has the other
    sign and divides by the prediction.

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.

    Returns:
        -1 for an empty prediction, 0 for equal volumes, positive where too much was predicted, without upper bound. NaN
        when the reference is empty.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, or are not of two or three axes.
    """
    check_masks(prediction, reference)
    expected = np.count_nonzero(reference)
    return float((np.count_nonzero(prediction) - expected) / expected) if expected else math.nan
