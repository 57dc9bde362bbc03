"""Every metric of a pair of masks, by name."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool

from rankseg_med.errors import InputError
from rankseg_med.metrics.empty import Kind
from rankseg_med.metrics.lesions import LesionScores, score_lesions
from rankseg_med.metrics.overlap import dice, jaccard, precision, relative_volume_difference, sensitivity
from rankseg_med.metrics.surface import Surface, SurfaceDistances, surface_distances

DistanceUnit: TypeAlias = Literal["mm", "voxel"]
"""What the distances of an evaluation are in, whatever the ending of their names."""


@dataclass(frozen=True, eq=False)
class MaskPair:
    """Two masks that are not empty, whose surface distances are measured once, when a metric first asks for them.

    Attributes:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.
        spacing_mm: distance of neighbouring voxels along each axis, in mm.
        surface: what the surface of a mask is, see `Surface`.
        tolerance_mm: distance in mm up to which a surface counts as right in surface Dice.
    """

    prediction: Bool[np.ndarray, "..."]
    reference: Bool[np.ndarray, "..."]
    spacing_mm: Sequence[float]
    surface: Surface
    tolerance_mm: float

    @cached_property
    def distances(self) -> SurfaceDistances:
        """The distances between the surfaces."""
        return surface_distances(self.prediction, self.reference, self.spacing_mm, self.surface)

    @cached_property
    def lesions(self) -> LesionScores:
        """The lesions, matched at any overlap."""
        return score_lesions(self.prediction, self.reference, self.spacing_mm)

    @cached_property
    def lesions_iou50(self) -> LesionScores:
        """The lesions, matched at an IoU above 0.5."""
        return score_lesions(self.prediction, self.reference, self.spacing_mm, iou_threshold=0.5)


@dataclass(frozen=True)
class Metric:
    """A number that compares a prediction with a reference.

    Attributes:
        heading: name in tables and sentences, without the unit.
        kind: kind, which says unit and direction, and which rule of an `EmptyPolicy` holds where a mask is empty.
        measure: function that gives the number where neither mask is.
    """

    heading: str
    kind: Kind
    measure: Callable[[MaskPair], float]

    @property
    def unit(self) -> Literal["mm", ""]:
        """Unit of the number; empty for a ratio."""
        return "mm" if self.kind == "distance" else ""

    def unit_in(self, distances: DistanceUnit) -> Literal["mm", "voxel", ""]:
        """Unit of the number where distances are in mm, or in voxels; empty for a ratio."""
        return distances if self.unit else ""

    def titled(self, distances: DistanceUnit = "mm", link: str = " in ") -> str:
        """Heading and unit, such as "HD95 in mm" or "HD95 in voxels"; of a ratio the heading alone.

        Args:
            distances: what distances are in.
            link: what stands between heading and unit.
        """
        unit = self.unit_in(distances)
        return f"{self.heading}{link}{'voxels' if unit == 'voxel' else unit}" if unit else self.heading

    @property
    def higher_is_better(self) -> bool | None:
        """Whether more is better; None where neither more nor less is, as for a signed difference of volumes."""
        return None if self.kind == "volume" else self.kind != "distance"

    @property
    def point(self) -> float:
        """Smallest change that is worth a word: 1 mm, or 0.01."""
        return 1.0 if self.unit else 0.01

    def shown(self, value: float, sign: str = "") -> str:
        """A value of the metric, or a difference of two, as reports write it; undefined is a dash.

        Args:
            value: value, NaN where it is undefined.
            sign: ``"+"`` to show the sign of positive values too.
        """
        return "-" if math.isnan(value) else f"{value:{sign}.{2 if self.unit else 4}f}"


def _hausdorff(percentile: float) -> Metric:
    return Metric(f"HD{percentile:g}", "distance", lambda pair: pair.distances.hausdorff_percentile_mm(percentile))


def _pooled_hausdorff(percentile: float) -> Metric:
    def measure(pair: MaskPair) -> float:
        return pair.distances.hausdorff_pooled_percentile_mm(percentile)

    return Metric(f"HD{percentile:g} pooled", "distance", measure)


METRICS: Mapping[str, Metric] = {
    "dice": Metric("Dice", "overlap", lambda pair: dice(pair.prediction, pair.reference)),
    "jaccard": Metric("IoU", "overlap", lambda pair: jaccard(pair.prediction, pair.reference)),
    "sensitivity": Metric("sensitivity", "overlap", lambda pair: sensitivity(pair.prediction, pair.reference)),
    "precision": Metric("precision", "overlap", lambda pair: precision(pair.prediction, pair.reference)),
    "surface_dice": Metric("surface Dice", "surface_dice", lambda pair: pair.distances.surface_dice(pair.tolerance_mm)),
    "hd_mm": Metric("HD", "distance", lambda pair: pair.distances.hausdorff_mm()),
    "hd95_mm": _hausdorff(95),
    "asd_prediction_to_reference_mm": Metric(
        "ASD pred to ref", "distance", lambda pair: pair.distances.asd_prediction_to_reference_mm()
    ),
    "asd_reference_to_prediction_mm": Metric(
        "ASD ref to pred", "distance", lambda pair: pair.distances.asd_reference_to_prediction_mm()
    ),
    "assd_mm": Metric("ASSD", "distance", lambda pair: pair.distances.assd_mm()),
    "rmsd_mm": Metric("RMSD", "distance", lambda pair: pair.distances.rmsd_mm()),
    "relative_volume_difference": Metric(
        "RVD", "volume", lambda pair: relative_volume_difference(pair.prediction, pair.reference)
    ),
}
"""Metrics by name, which is their column in tables of scores. `find_metric` knows other percentiles too, and
`LESION_METRICS`."""

LESION_METRICS: Mapping[str, Metric] = {
    "lesion_precision": Metric("lesion precision", "overlap", lambda pair: pair.lesions.precision),
    "lesion_recall": Metric("lesion recall", "overlap", lambda pair: pair.lesions.recall),
    "lesion_f1": Metric("lesion F1", "overlap", lambda pair: pair.lesions.f1),
    "lesion_dice": Metric("lesion Dice", "overlap", lambda pair: pair.lesions.mean_dice),
    "panoptic_quality": Metric("panoptic quality", "overlap", lambda pair: pair.lesions.panoptic_quality),
    "lesion_precision_iou50": Metric(
        "lesion precision, IoU > 0.5", "overlap", lambda pair: pair.lesions_iou50.precision
    ),
    "lesion_recall_iou50": Metric("lesion recall, IoU > 0.5", "overlap", lambda pair: pair.lesions_iou50.recall),
    "lesion_f1_iou50": Metric("lesion F1, IoU > 0.5", "overlap", lambda pair: pair.lesions_iou50.f1),
    "lesion_dice_iou50": Metric("lesion Dice, IoU > 0.5", "overlap", lambda pair: pair.lesions_iou50.mean_dice),
    "panoptic_quality_iou50": Metric(
        "panoptic quality, IoU > 0.5", "overlap", lambda pair: pair.lesions_iou50.panoptic_quality
    ),
}
"""Lesion-wise metrics of one case by name, see `LesionScores`; asked for by name, since they mean nothing of an organ.
Components are connected at corners too; where a mask is empty the `EmptyPolicy` decides as for overlap."""

_NAMED = {**METRICS, **LESION_METRICS}


def find_metric(name: str) -> Metric:
    """The metric of a name.

    Args:
        name: one of `METRICS` or `LESION_METRICS`, or a Hausdorff distance at any percentile, such as ``"hd99.5_mm"``,
            or of both directions pooled, as MedPy has it, ``"hd95_pooled_mm"``.

    Raises:
        ValueError: there is no such metric.
    """
    if name in _NAMED:
        return _NAMED[name]
    found = re.fullmatch(r"hd(?P<percentile>\d+(?:\.\d+)?)(?P<pooled>_pooled)?_mm", name)
    if found is None or not 0 <= float(found["percentile"]) <= 100:
        raise InputError(
            f"the metrics are {', '.join(_NAMED)}, and the Hausdorff distance at any percentile up to 100, such as "
            f"'hd99_mm', or pooled, 'hd99_pooled_mm'; got {name!r}"
        )
    percentile = float(found["percentile"])
    return _pooled_hausdorff(percentile) if found["pooled"] else _hausdorff(percentile)


def find_judging_metric(name: str) -> Metric:
    """The metric of a name, of which more or less is better, so that runs can win by it.

    Raises:
        ValueError: there is no such metric, or neither more nor less of it is better.
    """
    metric = find_metric(name)
    if metric.higher_is_better is None:
        raise InputError(f"metric {name}: neither more nor less of it is better, so nothing wins or loses")
    return metric
