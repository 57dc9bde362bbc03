"""How a pair of masks is scored, and the scores of one pair."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from jaxtyping import Bool

from rankseg_med.errors import InputError
from rankseg_med.metrics._checks import check_masks, check_spacing, check_tolerance
from rankseg_med.metrics.catalogue import METRICS, MaskPair, find_metric
from rankseg_med.metrics.empty import DEFAULT_EMPTY_POLICY, EmptyPolicy
from rankseg_med.metrics.surface import Surface


@dataclass(frozen=True)
class Scoring:
    """Which metrics, and by which definitions. Belongs into every report, since scores mean little without it.

    Attributes:
        metrics: names of the metrics, see `find_metric`; by default all of `METRICS`. Overlap alone is much faster.
        surface: what the surface of a mask is, see `Surface`.
        empty_policy: what a structure scores that is absent from the prediction, the reference or both.

    Raises:
        ValueError: there is no metric, or no such one, one occurs twice, or there is no such surface.
    """

    metrics: tuple[str, ...] = tuple(METRICS)
    surface: Surface = "voxels"
    empty_policy: EmptyPolicy = DEFAULT_EMPTY_POLICY

    def __post_init__(self) -> None:
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise InputError(f"scoring needs at least one metric, and each once, got {self.metrics}")
        for name in self.metrics:
            find_metric(name)
        if self.surface not in get_args(Surface):
            raise InputError(f"surface must be one of {', '.join(get_args(Surface))}, got {self.surface!r}")


DEFAULT_SCORING = Scoring()
"""All metrics on voxel surfaces, empty masks by `DEFAULT_EMPTY_POLICY`."""


def score_masks(
    prediction: Bool[np.ndarray, "..."],
    reference: Bool[np.ndarray, "..."],
    spacing_mm: Sequence[float],
    scoring: Scoring = DEFAULT_SCORING,
    *,
    tolerance_mm: float = 1.0,
    image_shape: Sequence[int] | None = None,
) -> dict[str, float]:
    """Score one mask against another. Surface distances are measured once, if a metric needs them.

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``; may be empty.
        reference: boolean mask of the same shape; may be empty.
        spacing_mm: distance of neighbouring voxels along each axis, in mm.
        scoring: which metrics, and by which definitions.
        tolerance_mm: distance in mm up to which a surface counts as right in surface Dice.
        image_shape: shape of the image that the masks were cut from, whose diagonal is the worst distance; by default
            their own.

    Returns:
        Metric name to score, in the order of ``scoring``; where a mask is empty, as its `EmptyPolicy` says.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, the spacing does not fit them, or the tolerance is negative.
    """
    check_masks(prediction, reference)
    check_spacing(spacing_mm, prediction.ndim)
    check_tolerance(tolerance_mm)
    metrics = {name: find_metric(name) for name in scoring.metrics}
    prediction_empty, reference_empty = not prediction.any(), not reference.any()
    if prediction_empty or reference_empty:
        diagonal_mm = _diagonal_mm(image_shape or prediction.shape, spacing_mm)
        return {
            name: scoring.empty_policy.score(
                metric.kind,
                prediction_empty=prediction_empty,
                reference_empty=reference_empty,
                image_diagonal_mm=diagonal_mm,
            )
            for name, metric in metrics.items()
        }
    pair = MaskPair(prediction, reference, spacing_mm, scoring.surface, tolerance_mm)
    return {name: metric.measure(pair) for name, metric in metrics.items()}


def _diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """The longest surface distance that there can be in an image, from the centre of one corner voxel to the opposite.

    Surfels lie up to half a voxel further out, but so do those of the other mask, on the side that is near.
    """
    return math.hypot(*((length - 1) * step for length, step in zip(shape, spacing_mm, strict=True)))
