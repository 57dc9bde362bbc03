"""How one metric spreads over cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankseg_med.metrics.bootstrap import bootstrap_interval, totals_by_unit


@dataclass(frozen=True)
class Spread:
    """Quantiles of the defined values and the interval of their mean. NaN is undefined.

    Attributes:
        q05: 5 % quantile, interpolated linearly, as are the others.
        q25: lower quartile.
        q75: upper quartile.
        q95: 95 % quantile.
        mean_low: lower bound of the 95 % bootstrap interval of the mean; NaN below two values, or two patients.
        mean_high: upper bound.
    """

    q05: float
    q25: float
    q75: float
    q95: float
    mean_low: float
    mean_high: float


def measure_spread(values: Sequence[float], patients: Sequence[str] | None = None, *, seed: int = 0) -> Spread:
    """Measure the spread of one metric over cases; NaN is an undefined value and left out.

    Args:
        values: any number; without a defined one all is NaN.
        patients: patient of each value, who are drawn whole for the interval; None takes values for independent.
        seed: random seed of the bootstrap, see `bootstrap_interval`.
    """
    all_values = np.asarray(values, dtype=float)
    is_defined = ~np.isnan(all_values)
    defined = all_values[is_defined]
    q05, q25, q75, q95 = np.quantile(defined, (0.05, 0.25, 0.75, 0.95)) if defined.size else (math.nan,) * 4
    units = None if patients is None else np.asarray(patients, dtype=str)[is_defined].tolist()
    mean_low, mean_high = bootstrap_interval(*totals_by_unit(defined, units), seed=seed)
    return Spread(float(q05), float(q25), float(q75), float(q95), mean_low, mean_high)
