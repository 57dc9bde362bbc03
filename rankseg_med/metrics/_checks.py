"""Checks that every metric makes of its masks and spacing, and every comparison of its scores."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Shaped

from rankseg_med.errors import InputError


def check_same_shape(prediction: Shaped[np.ndarray, "..."], reference: Shaped[np.ndarray, "..."]) -> None:
    """Raise ValueError unless both arrays have the same shape of two or three axes."""
    if prediction.shape != reference.shape:
        raise ValueError(
            f"prediction and reference must have the same shape, got {prediction.shape} and {reference.shape}; "
            "bring both onto one grid first, and drop channel axes"
        )
    if prediction.ndim not in (2, 3):
        raise ValueError(
            f"prediction and reference must have 2 or 3 spatial axes, got shape {prediction.shape}; "
            "drop channel and batch axes, e.g. with array[0]"
        )


def check_masks(prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."]) -> None:
    """Raise unless both arrays are boolean (else TypeError) and of the same 2-D or 3-D shape (else ValueError)."""
    for name, mask in (("prediction", prediction), ("reference", reference)):
        # A label map counted as a mask would merge its classes and give a plausible, wrong score.
        if mask.dtype != np.bool_:
            raise TypeError(
                f"the {name} must be a boolean mask, got dtype {mask.dtype}; "
                "select one class first, e.g. label_map == 1, or score every class with score_label_maps"
            )
    check_same_shape(prediction, reference)


def check_spacing(spacing_mm: Sequence[float], ndim: int) -> None:
    """Raise ValueError unless there is one positive, finite spacing for each of the ``ndim`` axes."""
    if len(spacing_mm) != ndim or not all(0 < step < np.inf for step in spacing_mm):
        raise ValueError(
            f"spacing_mm must give one positive number of millimetres for each of the {ndim} axes, "
            f"got {tuple(spacing_mm)}"
        )


def check_tolerance(tolerance_mm: float) -> None:
    """Raise ValueError unless a tolerance is a finite distance that is not negative."""
    if not 0 <= tolerance_mm < np.inf:
        raise ValueError(f"tolerance_mm must be zero or a positive number of millimetres, got {tolerance_mm}")


def check_finite_scores(case_id: str, scores: Mapping[str, float]) -> None:
    """Raise ValueError if a run's score of a case is infinite; NaN is none, and allowed."""
    if any(math.isinf(score) for score in scores.values()):
        raise InputError(
            f"scores must be finite, or NaN where there is none, got {dict(scores)} for {case_id}; "
            "give a missed structure a finite worst score, such as the image diagonal"
        )
