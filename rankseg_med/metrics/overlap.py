"""What counting voxels tells of two masks: Dice, Jaccard, sensitivity, precision, and volumes.

With P and R the predicted and the reference voxels, all are ratios of counts; where the denominator is 0 they are NaN,
and `rankseg_med.metrics.empty.EmptyPolicy` says what a benchmark makes of that. MONAI, MedPy and SimpleITK define them
alike, but for empty masks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from rankseg_med.metrics._checks import check_masks, check_spacing


@dataclass(frozen=True)
class VoxelCounts:
    """Voxels of an image, by which of two masks they are in.

    Attributes:
        true_positives: voxels of both.
        false_positives: voxels of the prediction alone.
        false_negatives: voxels of the reference alone.
        true_negatives: voxels of neither.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


def count_voxels(
    prediction: Bool[np.ndarray, "..."],
    reference: Bool[np.ndarray, "..."],
    image_shape: Sequence[int] | None = None,
) -> VoxelCounts:
    """Count the voxels that two masks share, and those that they do not.

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``; may be empty.
        reference: boolean mask of the same shape; may be empty.
        image_shape: shape of the image that the masks were cut from, of which the rest is in neither; by default their
            own.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, or are not of two or three axes.
    """
    check_masks(prediction, reference)
    both, predicted, expected = _count(prediction & reference), _count(prediction), _count(reference)
    total = math.prod(prediction.shape if image_shape is None else image_shape)
    return VoxelCounts(both, predicted - both, expected - both, total - predicted - expected + both)


def dice(prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."]) -> float:
    """Dice similarity coefficient of two masks.

    ``Dice = 2 |P and R| / (|P| + |R|)`` (Dice, Ecology 26, 1945).

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.

    Returns:
        A score in [0, 1]; 1 is identity. 0 when exactly one mask is empty; NaN (0/0) when both are.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, or are not of two or three axes.
    """
    check_masks(prediction, reference)
    return _ratio(2 * _count(prediction & reference), _count(prediction) + _count(reference))


def jaccard(prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."]) -> float:
    """Jaccard index of two masks, also known as intersection over union (IoU).

    ``Jaccard = |P and R| / |P or R| = Dice / (2 - Dice)`` (Jaccard, New Phytologist 11, 1912).

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.

    Returns:
        A score in [0, 1]; 1 is identity. 0 when exactly one mask is empty; NaN (0/0) when both are.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, or are not of two or three axes.
    """
    check_masks(prediction, reference)
    return _ratio(_count(prediction & reference), _count(prediction | reference))


def sensitivity(prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."]) -> float:
    """Share of the reference that was found, also known as recall or true positive rate.

    ``Sensitivity = |P and R| / |R|``.

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.

    Returns:
        A score in [0, 1]; 1 when all of the reference was found. 0 when only the prediction is empty; NaN (0/0) when
        the reference is.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, or are not of two or three axes.
    """
    check_masks(prediction, reference)
    return _ratio(_count(prediction & reference), _count(reference))


def precision(prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."]) -> float:
    """Share of the prediction that is right, also known as positive predictive value.

    ``Precision = |P and R| / |P|``.

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.

    Returns:
        A score in [0, 1]; 1 when nothing outside the reference was predicted. 0 when only the reference is empty; NaN
        (0/0) when the prediction is.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, or are not of two or three axes.
    """
    check_masks(prediction, reference)
    return _ratio(_count(prediction & reference), _count(prediction))


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
    return float(_count(mask) * math.prod(spacing_mm) / 1000)


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
    return _ratio(_count(prediction) - _count(reference), _count(reference))


def _count(mask: Bool[np.ndarray, "..."]) -> int:
    return int(np.count_nonzero(mask))


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
