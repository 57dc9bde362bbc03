"""Wilcoxon's signed-rank test of many bootstrap samples at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy import stats

from rankseg_med.metrics.bootstrap import ROUNDING


def signed_rank_p(
    differences: Float64[np.ndarray, " units"], draws: Float64[np.ndarray, "samples units"]
) -> tuple[Float64[np.ndarray, " samples"], Float64[np.ndarray, " samples"]]:
    """One-sided p values of samples that hold each unit a number of times.

    As `scipy.stats.wilcoxon` by the normal approximation, with corrections for ties and continuity, and without the
    differences of 0; but all samples share one sort, since a sample changes only how often a difference is there.

    Args:
        differences: difference of each unit; what agrees to `ROUNDING` decimals is equal.
        draws: how often each unit is in each sample.

    Returns:
        p values of the alternatives that differences lie above 0, and below; 1 where a sample has none but 0.
    """
    differences = differences.round(ROUNDING)
    kept = differences != 0
    differences, draws = differences[kept], draws[:, kept]
    if not differences.size:
        nothing = np.ones(len(draws))
        return nothing, nothing
    order = np.argsort(np.abs(differences), kind="stable")
    differences, draws = differences[order], draws[:, order]
    _, starts, tie = np.unique(np.abs(differences), return_index=True, return_inverse=True)
    tied = draws if len(starts) == len(differences) else np.add.reduceat(draws, starts, axis=1)
    ranks = tied.cumsum(1) - (tied - 1) / 2
    positive = differences > 0
    rank_sum = np.einsum("st,st->s", ranks[:, tie[positive]], draws[:, positive])
    n = tied.sum(1)
    of_ties = np.einsum("st,st,st->s", tied, tied, tied) - n
    variance = n * (n + 1) * (2 * n + 1) / 24 - of_ties / 48
    excess = rank_sum - n * (n + 1) / 4
    scale = np.sqrt(np.where(variance > 0, variance, np.inf))
    above, below = (np.where(n > 0, stats.norm.sf((sign * excess - 0.5) / scale), 1.0) for sign in (1, -1))
    return above, below
