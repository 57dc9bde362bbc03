"""Ways to rank runs, of many bootstrap samples at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
from jaxtyping import Float64
from scipy import stats

from rankseg_med.errors import InputError
from rankseg_med.metrics.bootstrap import ROUNDING
from rankseg_med.metrics.rank_tests import holm
from rankseg_med.metrics.score_matrix import ScoreMatrix
from rankseg_med.metrics.signed_rank import signed_rank_p

LEVEL = 0.05
"""Of the tests by which a run beats another."""


def mean_ranks(matrix: ScoreMatrix, draws: Float64[np.ndarray, "samples units"]) -> Float64[np.ndarray, "samples runs"]:
    """Mean over the cases of the rank within each case; 1 is best.

    Args:
        matrix: the scores.
        draws: how often each independent unit is in each sample, at least one unit in each.
    """
    return _mean(matrix.rank_totals, matrix, draws)


def mean_gains(matrix: ScoreMatrix, draws: Float64[np.ndarray, "samples units"]) -> Float64[np.ndarray, "samples runs"]:
    """Mean over the cases of the gain; arguments as of `mean_ranks`."""
    return _mean(matrix.gain_totals, matrix, draws)


def runs_beaten(
    matrix: ScoreMatrix, draws: Float64[np.ndarray, "samples units"]
) -> Float64[np.ndarray, "samples runs"]:
    """Number of the other runs that each run beats significantly; arguments as of `mean_ranks`.

    Wilcoxon's signed-rank test of the units' mean gains, one-sided, both ways of every pair, corrected by Holm for all
    of these.
    """
    pairs = list(combinations(range(len(matrix.runs)), 2))
    both_ways = [signed_rank_p(matrix.mean_gains[:, a] - matrix.mean_gains[:, b], draws) for a, b in pairs]
    wins = holm(np.stack([p for pair in both_ways for p in pair], axis=-1)) < LEVEL
    is_winner = np.array([[run == winner for run in range(len(matrix.runs))] for pair in pairs for winner in pair])
    beaten: np.ndarray = wins.astype(float) @ is_winner
    return beaten


def _mean(
    totals: Float64[np.ndarray, "units runs"], matrix: ScoreMatrix, draws: Float64[np.ndarray, "samples units"]
) -> Float64[np.ndarray, "samples runs"]:
    mean: np.ndarray = (draws @ totals / (draws @ matrix.sizes)[:, None]).round(ROUNDING)
    return mean


Merit = Callable[[ScoreMatrix, Float64[np.ndarray, "samples units"]], Float64[np.ndarray, "samples runs"]]

RANKING_SCHEMES: Mapping[str, Merit] = {
    "rank-then-mean": lambda matrix, draws: -mean_ranks(matrix, draws),
    "mean-then-rank": mean_gains,
    "significance": runs_beaten,
}
"""Ranking schemes by name, and by what each orders runs: more is better."""


def find_ranking_scheme(name: str) -> Merit:
    """What a scheme orders runs by.

    Raises:
        ValueError: there is no such scheme.
    """
    if name not in RANKING_SCHEMES:
        raise InputError(f"the ranking schemes are {', '.join(RANKING_SCHEMES)}; got {name!r}")
    return RANKING_SCHEMES[name]


def ranks_by(merits: Float64[np.ndarray, "samples runs"]) -> Float64[np.ndarray, "samples runs"]:
    """Ranks of the runs in each sample, 1 for the most merit; ties share the best rank that they span."""
    ranks: np.ndarray = stats.rankdata(-merits, method="min", axis=1).astype(float)
    return ranks
