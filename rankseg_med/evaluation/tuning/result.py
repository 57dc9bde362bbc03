"""What came of tuning, and the numbers that are reported of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from rankseg_med.calibration import Calibration, Reliability, ReliabilityCounts, Weighting, reliability
from rankseg_med.evaluation.quality import Quality, quality_of
from rankseg_med.evaluation.tuning.choice import Choice, means_by_patient, noise
from rankseg_med.evaluation.tuning.settings import (
    ARGMAX,
    THRESHOLDS,
    CalibrationName,
    Setting,
    cleanup_entry,
    decoder_entry,
)
from rankseg_med.evaluation.tuning.task import SCORES, Task
from rankseg_med.evaluation.tuning.trials import ESTIMATES
from rankseg_med.metrics import bootstrap_interval

LEVEL = 0.05
"""Chance from which on a note says that a gain may be noise."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Scores:
    """Scores of all cases, each with the calibration of its own fold.

    Attributes:
        by_setting: Dice and IoU with every setting.
        by_threshold: Dice and IoU with every fixed threshold.
        expected: The `ESTIMATES` of every decoding.
        decodings: Settings without cleanup, in the order of ``expected``.
    """

    by_setting: Float64[np.ndarray, "scores settings regions cases"]
    by_threshold: Float64[np.ndarray, "scores thresholds regions cases"]
    expected: Float64[np.ndarray, "decodings estimates regions cases"]
    decodings: tuple[Setting, ...]

    def chosen_by(self, task: Task) -> Float64[np.ndarray, "settings cases"]:
        """What settings are chosen by."""
        mean: np.ndarray = self.by_setting[SCORES.index(task.score)].mean(1)
        return mean


@dataclass(frozen=True)
class Tried:
    """A setting and what it did.

    Attributes:
        setting: Which.
        mean: Mean score over patients.
        regions: The same of each structure.
        gain: Mean over patients of the gain over argmax...
        interval: ... and its 95 % interval, by percentile bootstrap over patients.
        p: Chance that noise alone lifts any setting so far; see `noise`.
        near: Whether it is within one standard error of the best.
        better: Cases better than with argmax by more than a point.
        worse: Cases worse by more than a point.
    """

    setting: Setting
    mean: float
    regions: dict[str, float]
    gain: float
    interval: tuple[float, float]
    p: float
    near: bool
    better: int
    worse: int


@dataclass(frozen=True)
class Tuning:
    """What came of tuning.

    Attributes:
        task: What was tuned for.
        case_ids: Ids of all cases.
        patients: Patient of each case.
        folds: Patients of each fold.
        seed: Random seed of folds and draws.
        settings: All that was tried; the first is argmax.
        scores: Scores of all cases.
        choice: What was chosen, and why.
        held_out: Gain over argmax of each case with what is chosen on the other folds alone.
        presence: Whether every case has each structure.
        calibrations: Fitted to all cases, by name.
        counts: Voxels of all cases by bin of their probability, by calibration; each case by that of its own fold.
        notes: What the user should know.
    """

    task: Task
    case_ids: tuple[str, ...]
    patients: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]
    seed: int
    settings: tuple[Setting, ...]
    scores: Scores
    choice: Choice
    held_out: Float64[np.ndarray, " cases"]
    presence: tuple[bool, ...]
    calibrations: Mapping[CalibrationName, Calibration]
    counts: Mapping[CalibrationName, ReliabilityCounts]
    notes: tuple[str, ...]

    @property
    def chosen(self) -> Setting:
        """The setting that was chosen."""
        return self.settings[self.choice.chosen]

    @property
    def calibration(self) -> Calibration | None:
        """That of the chosen setting, fitted to all cases."""
        return self.calibrations.get(self.chosen.calibration)

    @property
    def decoder(self) -> dict[str, Any]:
        """Entry of a config."""
        return decoder_entry(self.chosen, self.presence, self.task.decoder_regions, self.task.empty_score)

    @property
    def cleanup(self) -> dict[str, Any] | None:
        """Entry of a config."""
        return cleanup_entry(self.chosen.cleanup, self.task.labels)

    @cached_property
    def tried(self) -> tuple[Tried, ...]:
        """All settings, in the order in which they were tried."""
        score, choice = SCORES.index(self.task.score), self.choice
        p = noise(self.scores.chosen_by(self.task), self.patients, 0, seed=self.seed)
        by_patient = means_by_patient(self.scores.chosen_by(self.task), self.patients)
        gains = by_patient - by_patient[0]
        regions = np.stack(
            [
                means_by_patient(rows.T, self.patients).mean(1)
                for rows in self.scores.by_setting[score].transpose(0, 2, 1)
            ]
        )
        return tuple(
            Tried(
                setting,
                float(choice.mean[index]),
                dict(zip(self.task.names, regions[index].tolist(), strict=True)),
                float(gains[index].mean()),
                self._interval(gains[index]),
                float(p[index]),
                bool(choice.near[index]),
                int(choice.better[index]),
                int(choice.worse[index]),
            )
            for index, setting in enumerate(self.settings)
        )

    @cached_property
    def thresholds(self) -> dict[float, float]:
        """Fixed threshold to mean score over patients."""
        rows = self.scores.by_threshold[SCORES.index(self.task.score)].mean(1)
        return dict(zip(THRESHOLDS, means_by_patient(rows, self.patients).mean(1).tolist(), strict=True))

    @property
    def best_threshold(self) -> float:
        """The fixed threshold with the highest mean on these very cases."""
        return max(self.thresholds, key=lambda threshold: self.thresholds[threshold])

    @cached_property
    def held_out_gain(self) -> tuple[float, float, float]:
        """Mean over patients of what the rule gains on patients it was not given, and its 95 % interval."""
        gains = means_by_patient(self.held_out[None], self.patients)[0]
        return (float(gains.mean()), *self._interval(gains))

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Also whether the gain may be noise, and whether a fixed threshold does better."""
        return (*self.notes, *self._doubts())

    def _doubts(self) -> Iterator[str]:
        chosen, fixed = self.tried[self.choice.chosen], self.thresholds[self.best_threshold]
        if chosen.setting != ARGMAX and chosen.p >= LEVEL:
            yield (
                f"noise alone lifts one of {len(self.settings)} settings as far with a chance of {chosen.p:.2g}; see "
                "what was chosen gain on other cases before relying on it"
            )
        if fixed > chosen.mean:
            yield (
                f"the fixed threshold {self.best_threshold:g} has a higher mean on these cases ({fixed:.4f}) than what "
                f"was chosen ({chosen.mean:.4f})"
            )

    def reliability(self, weighting: Weighting = "cases") -> dict[CalibrationName, Reliability]:
        """Reliability without calibration (``"none"``) and with each, on cases that it was not fitted to."""
        return {name: reliability(counts.weighted(weighting)) for name, counts in self.counts.items()}

    def quality(self) -> dict[str, dict[str, Quality]]:
        """For each structure, how well the chosen setting's scores are foretold without a reference, before cleanup.

        By expected scores of the independent and the coherent posterior and of their tuned mixture, by the soft Dice of
        the mask, and by a constant: the mean true score, which nobody knows without references.
        """
        chosen = self.chosen.decoding
        metric = self.task.score if chosen.decoder == "argmax" else chosen.decoder
        true = self.scores.by_setting[SCORES.index(metric), self.settings.index(chosen)]
        found = zip(ESTIMATES, self.scores.expected[self.scores.decodings.index(chosen)], strict=True)
        expected = {name: rows for name, rows in found if not np.isnan(rows).any()}
        expected["constant"] = np.broadcast_to(true.mean(1, keepdims=True), true.shape)
        return {
            structure: {name: quality_of(rows[index], true[index]) for name, rows in expected.items()}
            for index, structure in enumerate(self.task.names)
        }

    @staticmethod
    def _interval(gains: Float64[np.ndarray, " patients"]) -> tuple[float, float]:
        return bootstrap_interval(gains, np.ones(len(gains)), resamples=_RESAMPLES)
