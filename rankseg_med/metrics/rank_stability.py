"""How stable a ranking is when other cases are drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from rankseg_med.metrics.ranking_schemes import Merit, ranks_by
from rankseg_med.metrics.score_matrix import ScoreMatrix

_DRAWS_AT_ONCE = 500_000
"""Of units, so that memory does not grow with the number of samples."""


@dataclass(frozen=True, eq=False)
class RankStability:
    """What bootstrap samples make of a ranking; NaN below two independent units.

    Attributes:
        low: lower bound of the interval of each run's rank.
        high: its upper bound.
        first: share of the samples in which each run has rank 1, alone or with others.
        tau: mean of Kendall's tau between the ranking and the samples'.
        tau_interval: lower and upper bound of the samples' taus.
    """

    low: Float64[np.ndarray, " runs"]
    high: Float64[np.ndarray, " runs"]
    first: Float64[np.ndarray, " runs"]
    tau: float
    tau_interval: tuple[float, float]


def rank_stability(matrix: ScoreMatrix, merit: Merit, confidence: float, resamples: int, seed: int) -> RankStability:
    """Draw whole units with replacement, rank each sample, and look how ranks scatter.

    Intervals are percentiles, those of ranks without interpolation: their bounds are ranks that occur.

    Args:
        matrix: the scores, of at least one case.
        merit: what orders the runs.
        confidence: coverage of the intervals, in (0, 1).
        resamples: number of samples.
        seed: equal seeds give equal samples.
    """
    if len(matrix.sizes) < 2:
        nothing = np.full(len(matrix.runs), math.nan)
        return RankStability(nothing, nothing, nothing, math.nan, (math.nan, math.nan))
    ranks = ranks_by(merit(matrix, np.ones((1, len(matrix.sizes)))))[0]
    sampled = np.concatenate([ranks_by(merit(matrix, draws)) for draws in _draws(matrix, resamples, seed)])
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = np.quantile(sampled, tails, axis=0, method="inverted_cdf")
    taus = kendall_tau(ranks, sampled)
    tau_low, tau_high = map(float, np.quantile(taus, tails))
    return RankStability(low, high, (sampled == 1).mean(0), float(taus.mean()), (tau_low, tau_high))


def kendall_tau(
    ranks: Float64[np.ndarray, " runs"], sampled: Float64[np.ndarray, "samples runs"]
) -> Float64[np.ndarray, " samples"]:
    """Kendall's tau-b between one ranking and each of several.

    Returns:
        Coefficients in [-1, 1]; 0 for a sample in which all runs tie, NaN if all runs tie in the ranking.
    """
    a, b = np.array(list(combinations(range(len(ranks)), 2))).T
    order, orders = np.sign(ranks[a] - ranks[b]), np.sign(sampled[:, a] - sampled[:, b])
    if not order.any():
        return np.full(len(sampled), math.nan)
    decided = np.maximum(np.abs(orders).sum(1), 1)
    tau: np.ndarray = orders @ order / np.sqrt(decided * np.abs(order).sum())
    return tau


def _draws(matrix: ScoreMatrix, resamples: int, seed: int) -> Iterator[Float64[np.ndarray, "samples units"]]:
    """How often each unit is in each sample, some samples at a time."""
    generator = np.random.default_rng(seed)
    n_units = len(matrix.sizes)
    at_once = max(1, _DRAWS_AT_ONCE // n_units)
    for start in range(0, resamples, at_once):
        samples = min(at_once, resamples - start)
        yield generator.multinomial(n_units, np.full(n_units, 1 / n_units), size=samples).astype(float)
