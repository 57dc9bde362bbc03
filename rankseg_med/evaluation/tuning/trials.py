"""Second reading of the cases: every setting tried on each, and scores kept alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from monai.transforms import Transform
from torch import Tensor

from rankseg_med.configuration import CalibrationFile
from rankseg_med.decode import ArgmaxDecoder, Decoded, make_decoder
from rankseg_med.evaluation.cases import LabelledCase
from rankseg_med.evaluation.quality import soft_dice_of_sums
from rankseg_med.evaluation.tuning.evidence import to_array
from rankseg_med.evaluation.tuning.settings import (
    THRESHOLDS,
    CalibrationName,
    Setting,
    cleanup_entry,
    decoder_entry,
)
from rankseg_med.evaluation.tuning.task import SCORES, Task
from rankseg_med.masks import bounding_box
from rankseg_med.threads import one_thread
from rankseg_med.transforms import KeepLargestComponent
from rankseg_med.workflows import cleaned

ESTIMATES = ("independent", "coherent", "tuned", "soft Dice")
"""What is expected of a label map without a reference: its score by either posterior and by the decoder's mixture of
both, and the soft Dice of its mask."""


@dataclass(frozen=True)
class Prepared:
    """What cases of a fold are decoded with, learnt from all others.

    Attributes:
        calibrations: Calibrations by name; without ``"none"``.
        presence: Whether each structure is always there.
    """

    calibrations: Mapping[CalibrationName, CalibrationFile]
    presence: tuple[bool, ...]


@dataclass(frozen=True)
class CaseTrials:
    """Scores of one case.

    Attributes:
        scores: Dice and IoU with every setting.
        thresholds: Dice and IoU with every fixed threshold.
        expected: Estimates with every setting that has no cleanup, the `ESTIMATES`; NaN where there is none.
        counts: Voxels by bin of their calibrated probability, by calibration.
    """

    scores: Float64[np.ndarray, "scores settings regions"]
    thresholds: Float64[np.ndarray, "scores thresholds regions"]
    expected: Float64[np.ndarray, "decodings estimates regions"]
    counts: Mapping[CalibrationName, Float64[np.ndarray, "three regions bins"]]


def try_case(item: tuple[LabelledCase, Prepared], task: Task, settings: Sequence[Setting]) -> CaseTrials:
    """Decode one case with every setting.

    Args:
        item: The case, and what its fold is decoded with.
        task: What is tuned for.
        settings: Such as follow each other with the same decoding share it.

    Raises:
        ValueError: Something else than probabilities, or labels that are no classes.
    """
    case, prepared = item
    given, reference = case.probabilities(), case.reference()
    with one_thread():
        trials = _Trials(task, prepared, settings, reference.numpy())
        thresholds = np.stack([trials.score(labels) for labels in _at_thresholds(given, task)], 1)
        trials.calibrated_by("none", given)
        counts = {}
        for name, file in prepared.calibrations.items():
            probabilities = file.build().probabilities(given)
            counts[name] = to_array(task.count(probabilities, reference))
            trials.calibrated_by(name, probabilities)
            del probabilities
    return CaseTrials(trials.scores, thresholds, trials.expected, counts)


class _Trials:
    """Scores of one case, filled in one calibration after the other."""

    def __init__(
        self, task: Task, prepared: Prepared, settings: Sequence[Setting], reference: UInt8[np.ndarray, "X Y Z"]
    ) -> None:
        self.task, self.prepared, self.reference = task, prepared, reference
        self.groups: dict[Setting, list[tuple[int, Setting]]] = {}
        for index, setting in enumerate(settings):
            self.groups.setdefault(setting.decoding, []).append((index, setting))
        regions = len(task.regions)
        self.scores = np.full((len(SCORES), len(settings), regions), np.nan)
        self.expected = np.full((len(self.groups), len(ESTIMATES), regions), np.nan)

    def calibrated_by(self, name: CalibrationName, probabilities: Float[Tensor, "channels X Y Z"]) -> None:
        regions = [region.numpy() for region in self.task.region_probabilities(probabilities)]
        masses = [float(region.sum(dtype=np.float64)) for region in regions]
        for place, (decoding, group) in enumerate(self.groups.items()):
            if decoding.calibration != name:
                continue
            decoded = self._decoded(decoding, probabilities)
            labels = self.task.label_map(decoded.label_map).numpy()
            self.expected[place, :3] = _expected(decoded, self.expected.shape[2])
            self.expected[place, 3] = _soft_dice(labels, regions, masses, self.task)
            if (name, decoding.decoder) == ("none", self.task.score) and decoding.coherence in (0, 1):
                # What argmax's label map, which comes first, is expected to score by either posterior.
                self.expected[0, int(decoding.coherence)] = [d.argmax_expected_score for d in decoded.decisions]
            for index, setting in group:
                entry = cleanup_entry(setting.cleanup, self.task.labels)
                cleanup = None if entry is None else KeepLargestComponent(entry["labels"])
                self.scores[:, index] = self.score(labels, cleanup)

    def score(
        self, labels: UInt8[np.ndarray, "X Y Z"], cleanup: Transform | None = None
    ) -> Float64[np.ndarray, "scores regions"]:
        # What lies outside of all structures takes no part.
        box = bounding_box(labels, self.reference)
        found = torch.from_numpy(np.ascontiguousarray(labels[box]))
        return self.task.scores(cleaned(found, cleanup, np.eye(4)).numpy(), self.reference[box])

    def _decoded(self, decoding: Setting, probabilities: Float[Tensor, "channels X Y Z"]) -> Decoded:
        if decoding.decoder == "argmax":
            if self.task.independent:
                return Decoded((probabilities > 0.5).to(torch.uint8), ())
            return ArgmaxDecoder().decode(probabilities)
        task = self.task
        entry = decoder_entry(decoding, self.prepared.presence, task.decoder_regions, task.empty_score)
        del entry["_target_"]
        return make_decoder(**entry, mode="multilabel" if task.independent else "multiclass").decode(probabilities)


def _expected(decoded: Decoded, regions: int) -> Float64[np.ndarray, "three regions"]:
    if not decoded.decisions:
        return np.full((3, regions), np.nan)
    return np.array([(d.independent_score, d.coherent_score, d.expected_score) for d in decoded.decisions]).T


def _soft_dice(
    labels: UInt8[np.ndarray, "X Y Z"],
    regions: Sequence[Float[np.ndarray, "X Y Z"]],
    masses: Sequence[float],
    task: Task,
) -> list[float]:
    box = bounding_box(labels)
    return [
        soft_dice_of_sums(float(region[box][mask].sum(dtype=np.float64)), mass, int(mask.sum()))
        for region, mass, mask in zip(regions, masses, task.masks(labels[box]), strict=True)
    ]


def at_threshold(probabilities: Float[Tensor, "classes *spatial"], threshold: float) -> UInt8[Tensor, "*spatial"]:
    """The most probable foreground class where all of them together exceed a threshold."""
    classes = (probabilities[1:].argmax(0) + 1).to(torch.uint8)
    return torch.where(1 - probabilities[0] > threshold, classes, 0).to(torch.uint8)


def _at_thresholds(probabilities: Float[Tensor, "channels X Y Z"], task: Task) -> Iterator[UInt8[np.ndarray, "X Y Z"]]:
    """Label map of each fixed threshold; of independent channels, each by itself."""
    if task.independent:
        for threshold in THRESHOLDS:
            yield task.label_map((probabilities > threshold).to(torch.uint8)).numpy()
        return
    for threshold in THRESHOLDS:
        yield at_threshold(probabilities, threshold).numpy()
