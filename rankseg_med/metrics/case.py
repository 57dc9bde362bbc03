"""The scores of one case: every class of a predicted label map against the reference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Integer
from scipy import ndimage

from rankseg_med.metrics._checks import check_same_shape, check_spacing
from rankseg_med.metrics.empty import DEFAULT_EMPTY_POLICY, EmptyPolicy
from rankseg_med.metrics.overlap import dice, jaccard
from rankseg_med.metrics.surface import surface_distances

METRICS = ("dice", "jaccard", "hd_mm", "hd95_mm", "asd_prediction_to_reference_mm", "asd_reference_to_prediction_mm")
"""The fields of `LabelScores` that compare prediction and reference; those in millimetres end in ``_mm``."""

Box: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True)
class LabelScores:
    """The scores of one class in one case. NaN is undefined, by the `EmptyPolicy` in force.

    Attributes:
        label: value of the class in the label maps.
        name: name of the class.
        dice: Dice similarity coefficient, in [0, 1].
        jaccard: Jaccard index, in [0, 1].
        hd_mm: Hausdorff distance in mm.
        hd95_mm: larger of the two directed 95th percentiles of the surface distances, in mm.
        asd_prediction_to_reference_mm: average distance from predicted to reference surface, in mm.
        asd_reference_to_prediction_mm: average distance from reference to predicted surface, in mm.
        prediction_volume_ml: predicted volume in millilitres.
        reference_volume_ml: reference volume in millilitres.
    """

    label: int
    name: str
    dice: float
    jaccard: float
    hd_mm: float
    hd95_mm: float
    asd_prediction_to_reference_mm: float
    asd_reference_to_prediction_mm: float
    prediction_volume_ml: float
    reference_volume_ml: float


def score_label_maps(
    prediction: Integer[np.ndarray, "..."],
    reference: Integer[np.ndarray, "..."],
    labels: Mapping[int, str],
    spacing_mm: Sequence[float],
    empty_policy: EmptyPolicy = DEFAULT_EMPTY_POLICY,
) -> list[LabelScores]:
    """Score every class of a predicted label map.

    Each class is cut to its bounding box first, so the cost follows the size of the structures, not of the image.

    Args:
        prediction: integer label map ``(X, Y, Z)`` or ``(X, Y)``, 0 is background.
        reference: integer label map of the same shape.
        labels: positive value to name of the classes to score; other values count as background.
        spacing_mm: distance of neighbouring voxels along each axis, in mm.
        empty_policy: what a class scores that is absent from the prediction, the reference or both.

    Returns:
        One `LabelScores` for each of ``labels``, in their order.

    Raises:
        TypeError: a label map is not of integers.
        ValueError: the shapes differ, the spacing does not fit them, or a label is not positive.
    """
    for side, label_map in (("prediction", prediction), ("reference", reference)):
        if not np.issubdtype(label_map.dtype, np.integer):
            raise TypeError(
                f"The {side} must be a label map of integers, got dtype {label_map.dtype}. "
                "Decode probabilities first; cast a mask with mask.astype(numpy.uint8)."
            )
    check_same_shape(prediction, reference)
    check_spacing(spacing_mm, prediction.ndim)
    if not labels or min(labels) < 1:
        raise ValueError(
            f"labels must name at least one class, each by a positive value (0 is background), got {labels}."
        )
    voxel_ml = math.prod(spacing_mm) / 1000
    extent_mm = [(length - 1) * step for length, step in zip(prediction.shape, spacing_mm, strict=True)]
    prediction_boxes = ndimage.find_objects(prediction, max_label=max(labels))
    reference_boxes = ndimage.find_objects(reference, max_label=max(labels))
    scores = []
    for label, name in labels.items():
        box = _enclosing_box(prediction_boxes[label - 1], reference_boxes[label - 1], prediction.ndim)
        predicted, expected = prediction[box] == label, reference[box] == label
        if predicted.any() and expected.any():
            measured = _measure(predicted, expected, spacing_mm)
        else:
            measured = _substitute(empty_policy, not predicted.any() and not expected.any(), math.hypot(*extent_mm))
        scores.append(
            LabelScores(
                label=label,
                name=name,
                **measured,
                prediction_volume_ml=float(np.count_nonzero(predicted) * voxel_ml),
                reference_volume_ml=float(np.count_nonzero(expected) * voxel_ml),
            )
        )
    return scores


def _enclosing_box(first: Box | None, second: Box | None, ndim: int) -> Box:
    """The smallest box around both; of no extent where there is neither."""
    boxes = [box for box in (first, second) if box is not None]
    if not boxes:
        return (slice(0),) * ndim
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _measure(
    prediction: Bool[np.ndarray, "*spatial"], reference: Bool[np.ndarray, "*spatial"], spacing_mm: Sequence[float]
) -> dict[str, float]:
    distances = surface_distances(prediction, reference, spacing_mm)
    return {
        "dice": dice(prediction, reference),
        "jaccard": jaccard(prediction, reference),
        "hd_mm": distances.hausdorff_mm(),
        "hd95_mm": distances.hausdorff_percentile_mm(95.0),
        "asd_prediction_to_reference_mm": distances.asd_prediction_to_reference_mm(),
        "asd_reference_to_prediction_mm": distances.asd_reference_to_prediction_mm(),
    }


def _substitute(empty_policy: EmptyPolicy, both_empty: bool, image_diagonal_mm: float) -> dict[str, float]:
    overlap = empty_policy.overlap(both_empty=both_empty)
    distance_mm = empty_policy.distance_mm(both_empty=both_empty, image_diagonal_mm=image_diagonal_mm)
    return {metric: distance_mm if metric.endswith("_mm") else overlap for metric in METRICS}
