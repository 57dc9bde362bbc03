"""How certain a mean over cases is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64


def totals_by_unit(
    values: Float64[np.ndarray, " values"], units: Sequence[str] | None
) -> tuple[Float64[np.ndarray, " units"], Float64[np.ndarray, " units"]]:
    """Sum and number of the values of each independent unit, as `bootstrap_interval` needs them.

    Args:
        values: any number.
        units: of each value, such as its patient; None where every value is its own unit.
    """
    if units is None:
        return values, np.ones(len(values))
    _, unit, sizes = np.unique(np.asarray(units, dtype=str), return_inverse=True, return_counts=True)
    totals = np.zeros(len(sizes))
    np.add.at(totals, unit, values)
    return totals, sizes.astype(float)


def bootstrap_interval(
    totals: Float64[np.ndarray, " units"],
    sizes: Float64[np.ndarray, " units"],
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean.

    Whole units are drawn with replacement, and the mean is over all values of those drawn (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, section 13.3).

    Args:
        totals: sum of the values of each independent unit, such as a patient.
        sizes: number of values of each unit, positive; ones where every value is its own unit.
        confidence: nominal coverage, in (0, 1).
        resamples: number of bootstrap samples.
        seed: equal seeds give equal intervals.

    Returns:
        Lower and upper bound; NaN below two units.
    """
    count = len(totals)
    if count < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count), dtype=np.int32)
    means = totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
