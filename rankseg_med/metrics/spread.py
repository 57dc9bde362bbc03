"""How one metric spreads over cases."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rankseg_med.metrics.bootstrap import bootstrap_interval


@dataclass(frozen=True)
class Spread:
    """Quantiles of the defined values and the interval of their mean. NaN is undefined.

    Attributes:
        q05: 5 % quantile, interpolated linearly, as are the others.
        q25: lower quartile.
        q75: upper quartile.
        q95: 95 % quantile.
        mean_low: lower bound of the 95 % bootstrap interval of the mean; NaN below two values.
        mean_high: upper bound.
    """

    q05: float
    q25: float
    q75: float
    q95: float
    mean_low: float
    mean_high: float


def measure_spread(values: Iterable[float], *, seed: int = 0) -> Spread:
    """Measure the spread of one metric over independent cases; NaN is an undefined value and left out.

    Args:
        values: any number; without a defined one all is NaN.
        seed: of the bootstrap, see `bootstrap_interval`.
    """
    all_values = np.fromiter(values, dtype=float)
    defined = all_values[~np.isnan(all_values)]
    q05, q25, q75, q95 = np.quantile(defined, (0.05, 0.25, 0.75, 0.95)) if defined.size else (math.nan,) * 4
    mean_low, mean_high = bootstrap_interval(defined, np.ones(defined.size), seed=seed)
    return Spread(float(q05), float(q25), float(q75), float(q95), mean_low, mean_high)
