"""Which of several runs is best on the same cases, and how certain that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rankseg_med.errors import InputError
from rankseg_med.metrics.catalogue import find_judging_metric
from rankseg_med.metrics.rank_stability import RankStability, rank_stability
from rankseg_med.metrics.rank_tests import RankTests, friedman_nemenyi
from rankseg_med.metrics.ranking_schemes import (
    Merit,
    find_ranking_scheme,
    mean_gains,
    mean_ranks,
    ranks_by,
    runs_beaten,
)
from rankseg_med.metrics.score_matrix import ScoreMatrix, gather_scores


@dataclass(frozen=True)
class Standing:
    """Where a run stands. NaN is undefined.

    Attributes:
        run: name of the run.
        rank: rank by the scheme; 1 is best, ties share the best rank that they span.
        interval: lower and upper bound of the bootstrap interval of the rank; NaN below two patients.
        first: share of the bootstrap samples in which the run has rank 1, alone or with others.
        mean_rank: mean over the cases of the rank within each case, where ties share their mean rank.
        mean_score: mean score over the cases, missed ones at their worst.
        beaten: number of runs that are significantly worse.
        missed: ranked cases that the run has no score of.
    """

    run: str
    rank: float
    interval: tuple[float, float]
    first: float
    mean_rank: float
    mean_score: float
    beaten: int
    missed: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """Runs ranked by one score. NaN is undefined.

    Attributes:
        scheme: name of the ranking scheme, see `RANKING_SCHEMES`.
        standings: the runs, as they were given.
        n_cases: number of ranked cases.
        n_patients: number of patients whom they are of; without patients every case is its own.
        tau: mean over the bootstrap samples of Kendall's tau between their ranking and this one: 1 where no sample
            changes it, 0 for a sample in which all runs tie; NaN where all tie in this one, or below two patients.
        tau_interval: lower and upper bound of the samples' taus.
        confidence: nominal coverage of both intervals.
        resamples: number of bootstrap samples.
        tests: Friedman's and Nemenyi's tests over patients.
        unranked: case id to the reason why the case is not ranked. Say how many wherever a rank is shown.
    """

    scheme: str
    standings: tuple[Standing, ...]
    n_cases: int
    n_patients: int
    tau: float
    tau_interval: tuple[float, float]
    confidence: float
    resamples: int
    tests: RankTests
    unranked: Mapping[str, str]


def rank_runs(
    scores: Mapping[str, Mapping[str, float | None]],
    metric: str = "dice",
    *,
    scheme: str = "rank-then-mean",
    patients: Mapping[str, str] | None = None,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Ranking:
    """Rank runs by one score, and say how stable the ranking is (Wiesenfarth et al., Scientific Reports 11, 2021).

    The schemes: ``"rank-then-mean"`` orders runs by their mean rank over the cases, ``"mean-then-rank"`` by their mean
    score, ``"significance"`` by how many others they beat significantly. For the stability whole patients are drawn
    with replacement, and each sample is ranked anew.

    A case that a run missed has the worst rank of the case, and the worst score in means: 0, or of distances, which
    have no worst, the largest of any run in any ranked case. A case whose score is undefined in a run, or that every
    run missed, is not ranked; it is named in ``unranked``. With no case to rank, all but counts is NaN.

    Args:
        scores: run to case id to score, of at least three runs; NaN is undefined (by the `EmptyPolicy`). Absent or
            None: the run missed the case, or failed.
        metric: name of the score, see `find_metric`; says what is better.
        scheme: what orders the runs.
        patients: case id to patient, of every ranked case; None takes cases for independent.
        confidence: coverage of the intervals, in (0, 1); Nemenyi's critical difference is of the same.
        resamples: number of bootstrap samples.
        seed: random seed of the bootstrap; equal seeds give equal rankings.

    Raises:
        ValueError: there are fewer than three runs, no such metric or scheme, or neither more nor less of the metric is
            better, a score is infinite, a ranked case has no patient, or an option is out of its range.
    """
    merit = find_ranking_scheme(scheme)
    if len(scores) < 3 or not 0 < confidence < 1 or resamples < 1:
        raise InputError(
            "runs must be at least 3, confidence in (0, 1) and resamples positive, got "
            f"{len(scores)}, {confidence} and {resamples}"
        )
    matrix = gather_scores(scores, metric, patients)
    stability = rank_stability(matrix, merit, confidence, resamples, seed)
    return Ranking(
        scheme=scheme,
        standings=_standings(matrix, merit, stability, sign=1 if find_judging_metric(metric).higher_is_better else -1),
        n_cases=len(matrix.case_ids),
        n_patients=len(matrix.sizes),
        tau=stability.tau,
        tau_interval=stability.tau_interval,
        confidence=confidence,
        resamples=resamples,
        tests=friedman_nemenyi(matrix.blocks, 1 - confidence),
        unranked=matrix.unranked,
    )


def _standings(matrix: ScoreMatrix, merit: Merit, stability: RankStability, sign: int) -> tuple[Standing, ...]:
    if matrix.case_ids:
        everything = np.ones((1, len(matrix.sizes)))
        ranks = ranks_by(merit(matrix, everything))[0]
        of_cases, gains = mean_ranks(matrix, everything)[0], mean_gains(matrix, everything)[0]
        beaten = runs_beaten(matrix, everything)[0]
    else:
        ranks = of_cases = gains = np.full(len(matrix.runs), math.nan)
        beaten = np.zeros(len(matrix.runs))
    return tuple(
        Standing(
            run=run,
            rank=float(ranks[index]),
            interval=(float(stability.low[index]), float(stability.high[index])),
            first=float(stability.first[index]),
            mean_rank=float(of_cases[index]),
            mean_score=sign * float(gains[index]),
            beaten=int(beaten[index]),
            missed=matrix.missed(run),
        )
        for index, run in enumerate(matrix.runs)
    )
