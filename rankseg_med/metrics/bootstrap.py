"""How certain a mean over cases is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from scipy import stats

from rankseg_med.errors import InputError

ROUNDING = 9
"""Scores, and means of them, that agree to so many decimals are equal: they differ by rounding at most."""
_DRAWS_AT_ONCE = 500_000
"""Of units, at 32 bytes each, so that memory does not grow with the number of samples."""


def units_of(case_ids: Sequence[str], patients: Mapping[str, str] | None) -> list[str] | None:
    """Patient of each case; None where every case is its own unit.

    Raises:
        ValueError: a case has no patient.
    """
    if patients is None:
        return None
    strangers = [case_id for case_id in case_ids if case_id not in patients]
    if strangers:
        raise InputError(f"every compared case needs a patient, but these have none: {', '.join(strangers)}")
    return [patients[case_id] for case_id in case_ids]


def totals_by_unit(
    values: Float64[np.ndarray, " values"], units: Sequence[str] | None
) -> tuple[Float64[np.ndarray, " units"], Float64[np.ndarray, " units"]]:
    """Sum and number of the values of each independent unit, as `bootstrap_interval` needs them.

    Args:
        values: any number.
        units: unit of each value, such as its patient; None where every value is its own unit.
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
    Introduction to the Bootstrap, 1993, section 13.3). Samples are drawn in batches of at most 16 MB, or of one sample
    where that is more.

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
    interval = stats.bootstrap(
        (totals, sizes),
        _mean,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, _DRAWS_AT_ONCE // count),
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _mean(
    totals: Float64[np.ndarray, "*samples units"], sizes: Float64[np.ndarray, "*samples units"], axis: int
) -> Float64[np.ndarray, "*samples"]:
    mean: np.ndarray = totals.sum(axis) / sizes.sum(axis)
    return mean
