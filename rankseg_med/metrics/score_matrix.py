"""Scores of several runs on the same cases, as rankings need them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int
from scipy import stats

from rankseg_med.metrics._checks import check_finite_scores
from rankseg_med.metrics.bootstrap import ROUNDING, units_of
from rankseg_med.metrics.catalogue import find_judging_metric

MISSED = -math.inf
"""Gain of a case that a run has no score of: below every other."""


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """Scores of the cases that can be ranked.

    Attributes:
        runs: names of the runs.
        case_ids: the cases, sorted.
        gains: scores, negated where less is better; `MISSED` where a run missed the case.
        unit: independent unit of each case, its patient or itself, as an index.
        worst: gain that a missed case has in means.
        unranked: case id to the reason why the case is not ranked.
    """

    runs: tuple[str, ...]
    case_ids: tuple[str, ...]
    gains: Float64[np.ndarray, "cases runs"]
    unit: Int[np.ndarray, " cases"]
    worst: float
    unranked: Mapping[str, str]

    @cached_property
    def sizes(self) -> Float64[np.ndarray, " units"]:
        """Number of cases of each unit."""
        return np.bincount(self.unit).astype(float)

    @cached_property
    def rank_totals(self) -> Float64[np.ndarray, "units runs"]:
        """Sum over the cases of each unit of the ranks within each case: 1 is best, ties share their mean rank."""
        return self._by_unit(stats.rankdata(-self.gains, axis=1))

    @cached_property
    def gain_totals(self) -> Float64[np.ndarray, "units runs"]:
        """Sum over the cases of each unit of the gains, missed ones at their worst."""
        return self._by_unit(np.where(self.gains == MISSED, self.worst, self.gains))

    @cached_property
    def mean_gains(self) -> Float64[np.ndarray, "units runs"]:
        """Mean gain of each unit, missed cases at their worst."""
        mean: np.ndarray = (self.gain_totals / self.sizes[:, None]).round(ROUNDING)
        return mean

    @cached_property
    def blocks(self) -> Float64[np.ndarray, "units runs"]:
        """`mean_gains`, but `MISSED` where a run missed all cases of a unit."""
        found = self._by_unit((self.gains != MISSED).astype(float))
        return np.where(found == 0, MISSED, self.mean_gains)

    def missed(self, run: str) -> tuple[str, ...]:
        """The ranked cases that a run has no score of."""
        lacks = self.gains[:, self.runs.index(run)] == MISSED
        return tuple(case_id for case_id, lack in zip(self.case_ids, lacks, strict=True) if lack)

    def _by_unit(self, values: Float64[np.ndarray, "cases runs"]) -> Float64[np.ndarray, "units runs"]:
        totals = np.zeros((len(self.sizes), len(self.runs)))
        np.add.at(totals, self.unit, values)
        return totals


def gather_scores(
    scores: Mapping[str, Mapping[str, float | None]], metric: str, patients: Mapping[str, str] | None
) -> ScoreMatrix:
    """The cases of which every run has a score or missed them, and what they are worth.

    A case that a run missed counts against it: in means as the worst score, which is 0, or of distances, which have no
    worst, the largest of any run in any ranked case. A case is not ranked if its score is undefined in a run, or if
    every run missed it.

    Args:
        scores: run to case id to score; NaN is undefined. Absent or None: the run missed the case.
        metric: name of the score, see `find_metric`.
        patients: case id to patient, of every ranked case; None takes cases for independent.

    Raises:
        ValueError: there is no such metric or neither more nor less of it is better, a score is infinite, or a ranked
            case has no patient.
    """
    judged = find_judging_metric(metric)
    case_ids: list[str] = []
    rows: list[list[float]] = []
    unranked: dict[str, str] = {}
    for case_id in sorted({case_id for of_run in scores.values() for case_id in of_run}):
        found = {run: score for run, of_run in scores.items() if (score := of_run.get(case_id)) is not None}
        check_finite_scores(case_id, found)
        undefined = [run for run, score in found.items() if math.isnan(score)]
        if undefined:
            unranked[case_id] = f"undefined in {', '.join(undefined)}"
        elif not found:
            unranked[case_id] = "no score in any run"
        else:
            case_ids.append(case_id)
            rows.append([found.get(run, math.nan) for run in scores])
    gains = np.array(rows, dtype=float).reshape(-1, len(scores)).round(ROUNDING)
    if not judged.higher_is_better:
        gains = -gains
    is_bounded = judged.higher_is_better or not rows
    return ScoreMatrix(
        runs=tuple(scores),
        case_ids=tuple(case_ids),
        gains=np.where(np.isnan(gains), MISSED, gains),
        unit=_unit(units_of(case_ids, patients), len(case_ids)),
        worst=0.0 if is_bounded else float(np.nanmin(gains)),
        unranked=unranked,
    )


def _unit(units: Sequence[str] | None, n_cases: int) -> Int[np.ndarray, " cases"]:
    if units is None:
        return np.arange(n_cases)
    return np.unique(np.asarray(units, dtype=str), return_inverse=True)[1]
