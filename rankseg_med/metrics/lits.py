"""The scores of the Liver Tumor Segmentation challenge (LiTS), as its script gives them or corrected.

Bilic et al., Medical Image Analysis 84, 2023; the script is ``evaluate.py`` of PatrickChrist/lits-challenge-scoring.
Liver is label 1 with the tumour in it, label 2. Lesions are 6-connected components of label 2, and surfaces are those
of 18 neighbours (``"voxels18"``). Where the modes differ:

| | strict, as the script | corrected |
| --- | --- | --- |
| reference without tumour | error, since the script crashes | scored |
| lesion matching | merges lesions that touch, with defects, see `detect_as_official` | one to one |
| lesions scored | merged pairs | matched pairs |
| RVD | ``(reference - prediction) / prediction`` | ``(prediction - reference) / reference`` |
| no label 1 predicted | Dice 0, VOE 1, RVD and distances 9001 | by liver = label 1 or 2; scored if it is there |
| no liver predicted at all | the same | Dice 0, VOE 1, RVD -1, distances the image diagonal |
| tumour burden, no liver | 9001 predicted | a difference of 1, the largest there is |
| tumour burden maximum | signed, reference less prediction | absolute |
| no lesion detected in any case | VOE 1, RVD and distances 9001 | undefined, NaN |
| no lesion on a side | precision or recall 0 | undefined, NaN |

In both, the lesion Dice of a case is 1 where neither side has a lesion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np
from jaxtyping import Bool, Integer

from rankseg_med.errors import InputError
from rankseg_med.masks import bounding_box
from rankseg_med.metrics.empty import EMPTY_POLICIES
from rankseg_med.metrics.lits_detection import Detection, detect_as_official, detect_one_to_one
from rankseg_med.metrics.preset import Preset
from rankseg_med.metrics.regions import CaseScores, Region
from rankseg_med.metrics.scoring import Scoring, score_masks
from rankseg_med.metrics.summary import DataSetResults

UNDEFINED = 9001.0
"""What the script gives for a distance or volume difference that is undefined."""

_STRICT_UNDEFINED = {
    "voe": 1.0,
    "rvd": UNDEFINED,
    "assd_mm": UNDEFINED,
    "mssd_mm": UNDEFINED,
    "rmsd_mm": UNDEFINED,
}


@dataclass(frozen=True)
class LitsCase(CaseScores):
    """What one case adds to the results. Its regions are scored as the corrected mode has them in either mode.

    Attributes:
        liver: ``dice``, ``voe``, ``rvd``, ``assd_mm``, ``mssd_mm`` and ``rmsd_mm`` of the liver.
        overlaps: ``liver`` and ``lesion`` to the voxels of the intersection and the sum of both sizes.
        lesions: the liver's metrics for each lesion detected at IoU > 0.5.
        burden_difference: tumour burden of the reference less that of the prediction, as fractions of the liver.
        detections: IoU threshold, 0 and 0.5, to the numbers of predicted, reference and detected lesions.
    """

    liver: Mapping[str, float]
    overlaps: Mapping[str, tuple[int, int]]
    lesions: tuple[Mapping[str, float], ...]
    burden_difference: float
    detections: Mapping[float, tuple[int, int, int]]


@dataclass(frozen=True)
class LitsPreset(Preset):
    """The rules of LiTS.

    Attributes:
        strict: whether values are the script's with its defects; else they are corrected, see this module.
    """

    strict: bool = False

    case_type: ClassVar[type[CaseScores]] = LitsCase
    unknown_label: ClassVar[str] = "it counts as liver, as in the LiTS script"

    def with_own(self, regions: tuple[Region, ...] | None, metrics: Sequence[str] | None) -> Preset:
        """Raise ValueError: labels have their meaning, and results are made of certain metrics."""
        raise InputError(
            "LiTS scores label 1 as liver and 2 as tumour by metrics of its own; leave out labels, regions and "
            "metrics, or the preset"
        )

    def as_official(self) -> LitsPreset:
        """The strict mode."""
        return replace(self, strict=True)

    def score(
        self,
        prediction: Integer[np.ndarray, "X Y Z"],
        reference: Integer[np.ndarray, "X Y Z"],
        spacing_mm: Sequence[float],
    ) -> LitsCase:
        """Score one case.

        Args:
            prediction: label map, 1 liver, 2 tumour; may be empty.
            reference: label map of the same shape, with a liver.
            spacing_mm: distance of neighbouring voxels along each axis, in mm.

        Raises:
            ValueError: the shapes differ, the spacing does not fit them, the reference has no liver, or in strict mode
                no tumour or more than 255.
        """
        # Every label above 0 is liver.
        known = [np.where(label_map > 2, 1, label_map) for label_map in (prediction, reference)]
        regions = super().score(known[0], known[1], spacing_mm).regions
        if not (reference >= 1).any():
            raise ValueError("LiTS scores need a liver, label 1 or 2, in every reference, got one without; is it LiTS?")
        box = bounding_box(prediction, reference)
        prediction, reference = prediction[box], reference[box]
        liver = (prediction >= 1, reference >= 1)
        lesion = (prediction == 2, reference == 2)
        if self.strict and not (prediction == 1).any():
            liver = (np.zeros_like(liver[0]), liver[1])
            liver_scores = {"dice": 0.0, **_STRICT_UNDEFINED}
        else:
            liver_scores = self._renamed(regions[0].values)
        detect = detect_as_official if self.strict else detect_one_to_one
        detections = {threshold: detect(*lesion, threshold) for threshold in (0.0, 0.5)}
        # The script looks at its count, which its defects may have brought to 0 with lesions left.
        pairs = detections[0.5].pairs if detections[0.5].n_detected > 0 else ()
        return LitsCase(
            regions=regions,
            liver=liver_scores,
            overlaps={"liver": _overlap(*liver), "lesion": _overlap(*lesion)},
            lesions=tuple(self._renamed(score_masks(p, r, spacing_mm, self.scoring)) for p, r in pairs),
            burden_difference=_burden_difference(prediction, reference, strict=self.strict),
            detections={threshold: _counts(detection) for threshold, detection in detections.items()},
        )

    def summarise(self, cases: Sequence[CaseScores]) -> DataSetResults:
        """The results of a data set, as the challenge ranks them.

        Args:
            cases: cases that were scored in this mode; may be empty, and so are the results then.

        Returns:
            ``liver_`` and ``lesion_`` with ``dice_per_case``, ``dice_global``, ``voe``, ``rvd``, ``assd_mm``,
            ``mssd_mm`` and ``rmsd_mm`` (of the lesion: mean over detected lesions of all cases); ``lesion_precision``
            and ``lesion_recall`` at IoU > 0.5 and with ``_greater_zero`` at IoU > 0, over all lesions of all cases;
            ``tumour_burden_rmse`` and ``tumour_burden_max``. NaN is undefined.
        """
        mode, remark = ("strict", "the official script, with its defects") if self.strict else ("corrected", "")
        values = self._results(cast(Sequence[LitsCase], cases)) if cases else {}
        return DataSetResults("LiTS", mode, remark, values)

    def _results(self, cases: Sequence[LitsCase]) -> dict[str, float]:
        results = {
            "liver_dice_per_case": _mean([case.liver["dice"] for case in cases]),
            "lesion_dice_per_case": _mean([case.regions[1].values["dice"] for case in cases]),
        }
        for structure in ("liver", "lesion"):
            intersection, size = np.sum([case.overlaps[structure] for case in cases], axis=0).tolist()
            results[f"{structure}_dice_global"] = 2 * intersection / size if size else math.nan
        lesions = [lesion for case in cases for lesion in case.lesions]
        for metric, undefined in _STRICT_UNDEFINED.items():
            results[f"liver_{metric}"] = _mean([case.liver[metric] for case in cases])
            nothing = undefined if self.strict else math.nan
            results[f"lesion_{metric}"] = _mean([lesion[metric] for lesion in lesions]) if lesions else nothing
        for threshold, ending in ((0.5, ""), (0.0, "_greater_zero")):
            predicted, expected, detected = np.sum([case.detections[threshold] for case in cases], axis=0).tolist()
            nothing = 0.0 if self.strict else math.nan
            results[f"lesion_precision{ending}"] = detected / predicted if predicted else nothing
            results[f"lesion_recall{ending}"] = detected / expected if expected else nothing
        differences = np.array([case.burden_difference for case in cases])
        results["tumour_burden_rmse"] = float(np.sqrt(np.mean(np.square(differences))))
        results["tumour_burden_max"] = float(max(differences if self.strict else abs(differences)))
        return results

    def _renamed(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Scores under the names, and in strict mode with the RVD, of the challenge."""
        rvd = measured["relative_volume_difference"]
        return {
            "dice": measured["dice"],
            "voe": 1 - measured["jaccard"],
            # (R - P) / P of the volumes is the inverse of 1 + (P - R) / R, less 1.
            "rvd": 1 / (1 + rvd) - 1 if self.strict else rvd,
            "assd_mm": measured["assd_mm"],
            "mssd_mm": measured["hd_mm"],
            "rmsd_mm": measured["rmsd_mm"],
        }


LITS = LitsPreset(
    "lits",
    "LiTS: overlap, volume and surfaces of the liver and of its lesions, and the results of the data set.",
    # What is measured of the liver and of each lesion; empty masks as the corrected mode has them.
    Scoring(
        ("dice", "jaccard", "relative_volume_difference", "assd_mm", "hd_mm", "rmsd_mm"),
        surface="voxels18",
        empty_policy=EMPTY_POLICIES["lits"],
    ),
    (Region("liver", (1, 2)), Region("lesion", (2,))),
)
"""The corrected mode; `LitsPreset.as_official` is the strict one."""


def _overlap(prediction: Bool[np.ndarray, "X Y Z"], reference: Bool[np.ndarray, "X Y Z"]) -> tuple[int, int]:
    sizes = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return int(np.count_nonzero(prediction & reference)), int(sizes)


def _burden_difference(
    prediction: Integer[np.ndarray, "X Y Z"], reference: Integer[np.ndarray, "X Y Z"], *, strict: bool
) -> float:
    def burden(label_map: Integer[np.ndarray, "X Y Z"]) -> float:
        return float(np.count_nonzero(label_map == 2) / np.count_nonzero(label_map >= 1))

    if strict and not (prediction == 1).any():
        return burden(reference) - UNDEFINED
    return burden(reference) - burden(prediction) if (prediction >= 1).any() else 1.0


def _counts(detection: Detection) -> tuple[int, int, int]:
    return detection.n_prediction, detection.n_reference, detection.n_detected


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
