"""Whether several runs differ at all, and which of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64
from scipy import stats

from rankseg_med.errors import InputError

FEW_BLOCKS = 10
"""Below so many, the distributions that both tests take are rough (Demsar 2006, section 3.2.2)."""


@dataclass(frozen=True)
class RankTests:
    """Friedman's test, and Nemenyi's of every pair. NaN is undefined.

    Attributes:
        n_blocks: number of blocks, within each of which runs are ranked.
        mean_ranks: mean rank over the blocks of each run; 1 is best, ties share their mean rank.
        friedman_statistic: chi-square of Friedman's test, corrected for ties.
        friedman_p: its p value: that of differences as large between runs that are all alike.
        critical_difference: mean ranks that differ by at least so much differ at the level of the test.
        nemenyi_p: p value of each pair of runs, corrected for the number of pairs; 1 on the diagonal.
    """

    n_blocks: int
    mean_ranks: tuple[float, ...]
    friedman_statistic: float
    friedman_p: float
    critical_difference: float
    nemenyi_p: tuple[tuple[float, ...], ...]

    @property
    def is_rough(self) -> bool:
        """Whether there are too few blocks for p values to be taken at their word."""
        return self.n_blocks < FEW_BLOCKS


def friedman_nemenyi(gains: Float64[np.ndarray, "blocks runs"], alpha: float = 0.05) -> RankTests:
    """Test whether runs differ (Friedman 1937), and which pairs do (Nemenyi 1963; Demsar, JMLR 7, 2006).

    Runs whose mean ranks over n blocks are R1 and R2 differ by ``q = |R1 - R2| / sqrt(k (k + 1) / 6n)``, of which
    ``sqrt(2) q`` has the distribution of the studentised range of k runs with infinite degrees of freedom.

    Args:
        gains: one score for each independent block, such as a patient, and run; more is better, -inf is worst.
        alpha: level of the critical difference, in (0, 1).

    Raises:
        ValueError: there are fewer than three runs.
    """
    n_blocks, n_runs = gains.shape
    if n_runs < 3:
        raise InputError(f"Friedman's test needs at least 3 runs, got {n_runs}; compare two runs as a pair")
    if not n_blocks:
        undefined = (math.nan,) * n_runs
        return RankTests(0, undefined, math.nan, math.nan, math.nan, (undefined,) * n_runs)
    ranks = stats.rankdata(-gains, axis=1)
    mean_ranks = ranks.mean(0)
    statistic, p = (0.0, 1.0) if np.ptp(ranks) == 0 else map(float, stats.friedmanchisquare(*gains.T))
    unit = math.sqrt(n_runs * (n_runs + 1) / (6 * n_blocks) / 2)
    nemenyi = np.ones((n_runs, n_runs))
    for a, b in combinations(range(n_runs), 2):
        apart = abs(mean_ranks[a] - mean_ranks[b])
        nemenyi[a, b] = nemenyi[b, a] = stats.studentized_range.sf(apart / unit, n_runs, math.inf)
    return RankTests(
        n_blocks=n_blocks,
        mean_ranks=tuple(mean_ranks.tolist()),
        friedman_statistic=statistic,
        friedman_p=p,
        critical_difference=float(stats.studentized_range.ppf(1 - alpha, n_runs, math.inf)) * unit,
        nemenyi_p=tuple(map(tuple, nemenyi.tolist())),
    )


def holm(p_values: Sequence[float] | Float64[np.ndarray, "*samples tests"]) -> Float64[np.ndarray, "*samples tests"]:
    """Correct p values for the number of tests, so that the chance of any false finding is kept (Holm 1979).

    Args:
        p_values: p values of tests that are made together, along the last axis; NaN is no test.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, axis=-1)  # NaN last
    made = (~np.isnan(p)).sum(-1, keepdims=True)
    stepped = np.take_along_axis(p, order, -1) * (made - np.arange(p.shape[-1]))
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(stepped, -1), 1), -1)
    return adjusted
