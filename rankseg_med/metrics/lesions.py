"""Lesions found, missed and invented: the connected components of two masks, matched one to one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from rankseg_med.masks import bounding_box, connected_components
from rankseg_med.metrics._checks import check_masks, check_spacing
from rankseg_med.metrics.lesion_matching import lesion_sizes, match_lesions

SIZE_EDGES_ML = (0.5, 4.0)
"""Between small, medium and large lesions: about 1 and 2 cm in diameter."""


@dataclass(frozen=True)
class Lesion:
    """One connected component of a mask.

    Attributes:
        volume_ml: its volume in millilitres.
        iou: IoU with the lesion that it is matched to, in (0, 1]; 0 if it is matched to none.
        dice: Dice with the lesion that it is matched to, in (0, 1]; 0 if it is matched to none.
    """

    volume_ml: float
    iou: float = 0.0
    dice: float = 0.0

    @property
    def is_matched(self) -> bool:
        """Whether the other mask has a lesion for it."""
        return self.iou > 0


@dataclass(frozen=True)
class SizeClass:
    """Lesions whose own volume is at least ``minimum_ml`` and less than ``maximum_ml``.

    Attributes:
        minimum_ml: smallest volume in millilitres.
        maximum_ml: volume in millilitres that is too large; infinite for the last class.
        n_reference: reference lesions of this size.
        n_detected: those of them that are matched.
        n_prediction: predicted lesions of this size.
        n_false_positive: those of them that are not matched.
    """

    minimum_ml: float
    maximum_ml: float
    n_reference: int
    n_detected: int
    n_prediction: int
    n_false_positive: int


@dataclass(frozen=True)
class LesionScores:
    """The lesions of one case, or of many, and what follows from how they match.

    A score whose denominator is 0 is NaN, that is undefined. So with no lesion on either side every score is NaN; with
    predicted lesions only, recall and segmentation quality are NaN and the rest is 0; with reference lesions only,
    precision and segmentation quality are NaN and the rest is 0.

    Attributes:
        prediction: the predicted lesions.
        reference: the reference lesions.
    """

    prediction: tuple[Lesion, ...]
    reference: tuple[Lesion, ...]

    @classmethod
    def pooled(cls, cases: Iterable[LesionScores]) -> LesionScores:
        """The lesions of all cases together, whose scores weigh every lesion alike, as LiTS reports detection."""
        cases = list(cases)
        return cls(
            prediction=tuple(lesion for case in cases for lesion in case.prediction),
            reference=tuple(lesion for case in cases for lesion in case.reference),
        )

    @property
    def true_positives(self) -> int:
        """Number of matched pairs (TP)."""
        return sum(lesion.is_matched for lesion in self.reference)

    @property
    def false_positives(self) -> int:
        """Number of predicted lesions without a match (FP)."""
        return len(self.prediction) - self.true_positives

    @property
    def false_negatives(self) -> int:
        """Number of reference lesions without a match (FN)."""
        return len(self.reference) - self.true_positives

    @property
    def precision(self) -> float:
        """``TP / (TP + FP)``, in [0, 1]."""
        return _ratio(self.true_positives, len(self.prediction))

    @property
    def recall(self) -> float:
        """``TP / (TP + FN)``, in [0, 1]; sensitivity, detection rate."""
        return _ratio(self.true_positives, len(self.reference))

    @property
    def f1(self) -> float:
        """``TP / (TP + FP/2 + FN/2)``, in [0, 1]; recognition quality in panoptic segmentation."""
        return _ratio(self.true_positives, (len(self.prediction) + len(self.reference)) / 2)

    @property
    def segmentation_quality(self) -> float:
        """Mean IoU of the matched pairs, in (0, 1]."""
        return _ratio(self._total_iou, self.true_positives)

    @property
    def panoptic_quality(self) -> float:
        """``sum of IoU / (TP + FP/2 + FN/2) = segmentation quality * F1``, in [0, 1] (Kirillov et al., CVPR 2019)."""
        return _ratio(self._total_iou, (len(self.prediction) + len(self.reference)) / 2)

    @property
    def mean_dice(self) -> float:
        """``sum of Dice / (TP + FP + FN)``, in [0, 1]: over all lesions, those missed or invented counting 0."""
        lesions = self.true_positives + self.false_positives + self.false_negatives
        return _ratio(math.fsum(lesion.dice for lesion in self.reference), lesions)

    @property
    def _total_iou(self) -> float:
        return math.fsum(lesion.iou for lesion in self.reference)

    def by_size(self, edges_ml: Sequence[float] = SIZE_EDGES_ML) -> list[SizeClass]:
        """Count the lesions by their own volume, so a pair may be of two classes.

        Args:
            edges_ml: volumes in millilitres between the classes, rising; a lesion of exactly an edge is of the upper.

        Returns:
            One more class than edges, from small to large.

        Raises:
            ValueError: the edges are not positive, finite and rising.
        """
        edges = [0.0, *edges_ml, math.inf]
        if not all(low < high for low, high in pairwise(edges)):
            raise ValueError(f"edges_ml must be positive, finite and rising, got {tuple(edges_ml)}")
        classes = []
        for low, high in pairwise(edges):
            reference = [lesion for lesion in self.reference if low <= lesion.volume_ml < high]
            prediction = [lesion for lesion in self.prediction if low <= lesion.volume_ml < high]
            classes.append(
                SizeClass(
                    minimum_ml=low,
                    maximum_ml=high,
                    n_reference=len(reference),
                    n_detected=sum(lesion.is_matched for lesion in reference),
                    n_prediction=len(prediction),
                    n_false_positive=sum(not lesion.is_matched for lesion in prediction),
                )
            )
        return classes


def score_lesions(
    prediction: Bool[np.ndarray, "..."],
    reference: Bool[np.ndarray, "..."],
    spacing_mm: Sequence[float],
    *,
    iou_threshold: float = 0.0,
    connectivity: int | None = None,
) -> LesionScores:
    """Find the lesions of both masks and match them, see `match_lesions`.

    But for finding it, work and memory follow the bounding box of the two masks.

    Args:
        prediction: boolean mask ``(X, Y, Z)`` or ``(X, Y)``; may be empty.
        reference: boolean mask of the same shape; may be empty.
        spacing_mm: distance of neighbouring voxels along each axis, in mm.
        iou_threshold: in [0, 1): pairs match only if their IoU is greater. 0 takes any overlap, 0.5 is the usual rule
            of panoptic quality.
        connectivity: largest number of axes along which neighbours may differ, see `connected_components`.

    Returns:
        Every lesion of either side with its volume and what it is matched to.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: the shapes differ, the spacing does not fit them, or an option is out of its range.
    """
    check_masks(prediction, reference)
    check_spacing(spacing_mm, prediction.ndim)
    box = bounding_box(prediction, reference)
    predicted = connected_components(prediction[box], connectivity)
    expected = connected_components(reference[box], connectivity)
    voxel_ml = math.prod(spacing_mm) / 1000
    prediction_lesions = [Lesion(float(size * voxel_ml)) for size in lesion_sizes(predicted)]
    reference_lesions = [Lesion(float(size * voxel_ml)) for size in lesion_sizes(expected)]
    for match in match_lesions(predicted, expected, iou_threshold):
        overlap = {"iou": match.iou, "dice": 2 * match.iou / (1 + match.iou)}
        for lesions, number in ((prediction_lesions, match.prediction), (reference_lesions, match.reference)):
            lesions[number - 1] = Lesion(lesions[number - 1].volume_ml, **overlap)
    return LesionScores(tuple(prediction_lesions), tuple(reference_lesions))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
