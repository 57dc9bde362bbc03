"""Whether one run is better than another on the same cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy import stats

from rankseg_med.errors import InputError
from rankseg_med.metrics._checks import check_finite_scores
from rankseg_med.metrics.bootstrap import ROUNDING, bootstrap_interval, totals_by_unit, units_of
from rankseg_med.metrics.catalogue import find_judging_metric


@dataclass(frozen=True)
class Outcomes:
    """How many cases got better, stayed and got worse from A to B.

    Attributes:
        threshold: changes of at most so much count as ties.
        wins: cases that are better in B by more than the threshold.
        ties: cases that differ by no more than the threshold.
        losses: cases that are worse in B by more than the threshold.
    """

    threshold: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class CaseDifference:
    """One case and what changed in it.

    Attributes:
        case_id: the case.
        difference: score in B less score in A.
    """

    case_id: str
    difference: float


@dataclass(frozen=True)
class PairedComparison:
    """What changes from run A to run B in the cases that have a score in both. NaN is undefined.

    Attributes:
        n_cases: number of compared cases.
        n_patients: number of patients whom they are of; without patients every case is its own.
        mean_a: mean score in A over the compared cases.
        mean_b: mean score in B over the compared cases.
        mean_difference: mean over the cases of B less A.
        interval: lower and upper bound of the bootstrap interval of ``mean_difference``; NaN below two patients.
        confidence: nominal coverage of the interval.
        wilcoxon_p: two-sided p value of the Wilcoxon signed-rank test.
        sign_test_p: two-sided p value of the sign test.
        outcomes: wins, ties and losses at each threshold.
        worst: the case that loses most (or gains least); None without cases.
        best: the case that gains most (or loses least); None without cases.
        unpaired: case id to the reason why the case is not compared. Say how many wherever a mean is shown.
    """

    n_cases: int
    n_patients: int
    mean_a: float
    mean_b: float
    mean_difference: float
    interval: tuple[float, float]
    confidence: float
    wilcoxon_p: float
    sign_test_p: float
    outcomes: tuple[Outcomes, ...]
    worst: CaseDifference | None
    best: CaseDifference | None
    unpaired: Mapping[str, str]


def compare_paired(
    scores_a: Mapping[str, float],
    scores_b: Mapping[str, float],
    metric: str = "dice",
    *,
    patients: Mapping[str, str] | None = None,
    thresholds: Sequence[float] | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedComparison:
    """Compare two runs by one score, case by case.

    The interval is the percentile bootstrap of the mean difference (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, section 13.3): whole patients are drawn with replacement, and the mean is over the cases of those
    drawn. The tests assume independent differences, so they are of each patient's mean difference. Wilcoxon's test
    leaves out differences of 0, as its author did; where all are 0, both tests give 1.

    A case without a score on a side (absent, or NaN by the `EmptyPolicy`) cannot be compared; it is named in
    ``unpaired``. With no case to compare, every statistic is NaN.

    Args:
        scores_a: case id to score of the run compared with (the baseline).
        scores_b: case id to score of the run in question.
        metric: name of the score, see `find_metric`; says which change is a win. Differences are B less A either way.
        patients: case id to patient, of every compared case; None takes cases for independent.
        thresholds: smallest changes that matter, in units of the score, not negative; None takes 0 and the metric's
            `point`.
        confidence: coverage of the interval, in (0, 1).
        resamples: number of bootstrap samples.
        seed: random seed of the bootstrap; equal seeds give equal intervals.

    Raises:
        ValueError: there is no such metric or neither more nor less of it is better, a score is infinite, a compared
            case has no patient, or an option is out of its range.
    """
    compared = find_judging_metric(metric)
    if thresholds is None:
        thresholds = (0.0, compared.point)
    if not 0 < confidence < 1 or resamples < 1 or not all(threshold >= 0 for threshold in thresholds):
        raise InputError(
            "confidence must be in (0, 1), resamples positive and thresholds not negative, got "
            f"{confidence}, {resamples} and {tuple(thresholds)}"
        )
    case_ids, unpaired = _pair(scores_a, scores_b)
    a = np.array([scores_a[case_id] for case_id in case_ids])
    b = np.array([scores_b[case_id] for case_id in case_ids])
    differences = (b - a).round(ROUNDING)
    gains = differences if compared.higher_is_better else -differences
    totals, sizes = totals_by_unit(differences, units_of(case_ids, patients))
    of_patients = (totals / sizes).round(ROUNDING)
    by_gain = [CaseDifference(case_ids[index], float(differences[index])) for index in np.argsort(gains, kind="stable")]
    return PairedComparison(
        n_cases=len(case_ids),
        n_patients=len(totals),
        mean_a=_mean(a),
        mean_b=_mean(b),
        mean_difference=_mean(differences),
        interval=bootstrap_interval(totals, sizes, confidence, resamples, seed),
        confidence=confidence,
        wilcoxon_p=_wilcoxon_p(of_patients),
        sign_test_p=_sign_test_p(of_patients),
        outcomes=tuple(
            Outcomes(
                threshold,
                wins=int((gains > threshold).sum()),
                ties=int((abs(gains) <= threshold).sum()),
                losses=int((gains < -threshold).sum()),
            )
            for threshold in thresholds
        ),
        worst=by_gain[0] if by_gain else None,
        best=by_gain[-1] if by_gain else None,
        unpaired=unpaired,
    )


def _pair(scores_a: Mapping[str, float], scores_b: Mapping[str, float]) -> tuple[list[str], dict[str, str]]:
    """The cases with a score on both sides, and the others with the reason."""
    case_ids, unpaired = [], {}
    for case_id in sorted(scores_a.keys() | scores_b.keys()):
        sides = {"A": scores_a.get(case_id, math.nan), "B": scores_b.get(case_id, math.nan)}
        check_finite_scores(case_id, sides)
        lacking = [side for side, score in sides.items() if math.isnan(score)]
        if lacking:
            unpaired[case_id] = f"no score in {' and '.join(lacking)}"
        else:
            case_ids.append(case_id)
    return case_ids, unpaired


def _mean(values: Float64[np.ndarray, " cases"]) -> float:
    return float(values.mean()) if values.size else math.nan


def _wilcoxon_p(differences: Float64[np.ndarray, " patients"]) -> float:
    if not differences.any():
        return 1.0 if differences.size else math.nan
    return float(stats.wilcoxon(differences).pvalue)


def _sign_test_p(differences: Float64[np.ndarray, " patients"]) -> float:
    positive, negative = int((differences > 0).sum()), int((differences < 0).sum())
    if not positive + negative:
        return 1.0 if differences.size else math.nan
    return float(stats.binomtest(positive, positive + negative).pvalue)
