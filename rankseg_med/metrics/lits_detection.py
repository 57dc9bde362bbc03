"""Which lesions count as detected in LiTS: as its official script has it, and one to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from rankseg_med.masks import connected_components
from rankseg_med.metrics.lesion_matching import match_lesions


@dataclass(frozen=True)
class Detection:
    """The lesions of one case, matched.

    Attributes:
        n_prediction: number of predicted lesions.
        n_reference: number of reference lesions.
        n_detected: number of detected lesions, TP; FP and FN are the rest of either side. In strict mode it may be
            negative.
        pairs: masks of the prediction and the reference for each detected lesion, both of the case's shape.
    """

    n_prediction: int
    n_reference: int
    n_detected: int
    pairs: tuple[tuple[Bool[np.ndarray, "..."], Bool[np.ndarray, "..."]], ...]


def detect_one_to_one(
    prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."], min_iou: float
) -> Detection:
    """Match 6-connected lesions one to one, see `match_lesions`.

    Args:
        prediction: predicted lesions; may be empty.
        reference: reference lesions of the same shape; may be empty.
        min_iou: in [0, 1); IoU must be greater.
    """
    predicted, expected = connected_components(prediction, 1), connected_components(reference, 1)
    matches = match_lesions(predicted, expected, min_iou)
    pairs = tuple((predicted == match.prediction, expected == match.reference) for match in matches)
    return Detection(int(predicted.max(initial=0)), int(expected.max(initial=0)), len(matches), pairs)


def detect_as_official(
    prediction: Bool[np.ndarray, "..."], reference: Bool[np.ndarray, "..."], min_iou: float
) -> Detection:
    """Match 6-connected lesions with the values and the defects of ``detect_lesions`` in LiTS's ``calc_metric.py``.

    References under one prediction are merged, then predictions over one such reference; a merged pair counts once if
    its IoU is greater than ``min_iou``. The defects:

    - The union is taken after predictions were given the numbers of their references, but with the old number, so it
      may hold another lesion, and the result depends on the order of labelling.
    - A merged pair that fails is taken off the count once for each reference in it, though it was counted once.

    Args:
        prediction: predicted lesions; may be empty.
        reference: reference lesions of the same shape, at least one.
        min_iou: in [0, 1); IoU must be greater.

    Raises:
        ValueError: there is no reference lesion, where the script crashes, or more than 255, where its masks overflow.
    """
    # SciPy's order of labelling, in which the script visits lesions.
    predicted, n_prediction = ndimage.label(prediction)
    merged, n_reference = ndimage.label(reference)
    if not 1 <= n_reference <= np.iinfo(np.uint8).max:
        raise ValueError(
            f"LiTS in strict mode needs 1 to 255 reference lesions in each case, got {n_reference}: the "
            "official script crashes without one and overflows beyond; use the corrected mode"
        )
    overlap = np.zeros((n_prediction + 1, n_reference + 1), dtype=np.int64)
    np.add.at(overlap, (predicted, merged), 1)
    touching = np.flatnonzero(overlap[:, 1:].sum(axis=1))
    prediction_ids = touching[touching > 0]
    overlap, reference_ids = overlap[prediction_ids, 1:], np.arange(1, n_reference + 1)

    counts = dict.fromkeys(reference_ids.tolist(), 1)
    for row in range(len(prediction_ids)):
        # A reference joins the prediction that covers most of it.
        own = [column for column in overlap[row].nonzero()[0] if overlap[:, column].argmax() == row]
        counts |= dict.fromkeys(reference_ids[own].tolist(), len(own))
        if len(own) > 1:
            merged[np.isin(merged, reference_ids[own])] = reference_ids[own[0]]
            overlap[:, own[0]] = overlap[:, own].sum(axis=1)
            overlap = np.delete(overlap, own[1:], axis=1)
            reference_ids = np.delete(reference_ids, own[1:])

    detected = np.zeros_like(merged)
    partners: dict[int, tuple[int, int]] = {}
    for prediction_id, row in zip(prediction_ids.tolist(), overlap, strict=True):
        reference_id = int(reference_ids[row.argmax()])
        detected[predicted == prediction_id] = reference_id
        first, intersection = partners.get(reference_id, (prediction_id, 0))
        partners[reference_id] = (first, intersection + int(row.max()))

    n_detected = len(partners)
    for reference_id, (prediction_id, intersection) in partners.items():
        # Here the script should ask for reference_id in both: detected has been renumbered.
        union = np.count_nonzero((detected == prediction_id) | (merged == reference_id))
        if intersection / union <= min_iou:
            detected[detected == reference_id] = 0
            n_detected -= counts[reference_id]
    pairs = tuple((detected == number, merged == number) for number in np.unique(detected[detected > 0]))
    return Detection(n_prediction, n_reference, n_detected, pairs)
