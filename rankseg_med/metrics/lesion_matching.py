"""Which predicted lesion is which reference lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Integer
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array


@dataclass(frozen=True)
class LesionMatch:
    """A predicted and a reference lesion that are taken for the same.

    Attributes:
        prediction: number of the predicted component, from 1.
        reference: number of the reference component, from 1.
        iou: IoU of the two, in (0, 1].
    """

    prediction: int
    reference: int
    iou: float


def match_lesions(
    prediction: Integer[np.ndarray, "..."], reference: Integer[np.ndarray, "..."], iou_threshold: float = 0.0
) -> list[LesionMatch]:
    """Match predicted to reference lesions, one to one, so that the sum of the matched IoU is largest.

    ``IoU = |P and R| / |P or R|``. From a threshold of 0.5 on no lesion has two candidates, so the matching needs no
    choice (Kirillov et al., CVPR 2019); below, the assignment is that of Kuhn and Munkres, of equal sums an arbitrary
    one.

    Args:
        prediction: components numbered from 1 without gaps, 0 is background, as `connected_components` gives them.
        reference: the same for the reference, of the same shape.
        iou_threshold: in [0, 1): only pairs whose IoU is greater may match.

    Returns:
        The matches, in the order of the predicted lesions; none where either side is empty.

    Raises:
        ValueError: the shapes differ, or ``iou_threshold`` is out of its range.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"both component maps must have one shape, got {prediction.shape} and {reference.shape}")
    if not 0 <= iou_threshold < 1:
        raise ValueError(f"iou_threshold must be in [0, 1), got {iou_threshold}; for any overlap pass 0")
    prediction_sizes, reference_sizes = lesion_sizes(prediction), lesion_sizes(reference)
    shared = (prediction > 0) & (reference > 0)
    pairs = (prediction[shared] - 1, reference[shared] - 1)
    shape = (len(prediction_sizes), len(reference_sizes))
    intersection = coo_array((np.ones(len(pairs[0]), int), pairs), shape=shape).toarray()
    iou = intersection / (prediction_sizes[:, None] + reference_sizes - intersection)
    iou[iou <= iou_threshold] = 0
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return [
        LesionMatch(int(row) + 1, int(column) + 1, float(iou[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if iou[row, column] > 0
    ]


def lesion_sizes(components: Integer[np.ndarray, "..."]) -> Int[np.ndarray, " lesions"]:
    """Number of voxels of each component of a map of `connected_components`, in the order of their numbers."""
    # Counting the background too would cost 8 bytes for every voxel of it.
    return np.bincount(components[components > 0])[1:]
