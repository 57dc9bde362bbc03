import math
from dataclasses import astuple

import pytest

from rankseg_med.metrics.spread import measure_spread


def test_quantiles_by_hand():
    # 0, 1, ..., 20: the quantile p lies at 20 p.
    spread = measure_spread([math.nan, *map(float, range(21))])
    assert (spread.q05, spread.q25, spread.q75, spread.q95) == pytest.approx((1, 5, 15, 19))
    assert 0 < spread.mean_low < 10 < spread.mean_high < 20


def test_equal_values_leave_no_doubt():
    assert astuple(measure_spread([2.0, 2.0])) == (2.0,) * 6


def test_one_value_has_no_interval():
    spread = measure_spread([0.5])
    assert spread.q05 == spread.q95 == 0.5
    assert math.isnan(spread.mean_low)
    assert math.isnan(spread.mean_high)


def test_patients_are_drawn_whole():
    # Patient p has three values of 0 and q one of 1; drawn twice each, or both: means 0, 1/4 and 1, the extremes with a
    # chance of a quarter each. The undefined value of r counts for nothing.
    spread = measure_spread([0.0, 1.0, math.nan, 0.0, 0.0], ["p", "q", "r", "p", "p"])
    assert (spread.mean_low, spread.mean_high) == (0, 1)
    independent = measure_spread([0.0, 1.0, 0.0, 0.0])
    assert independent.mean_high == 0.75
    alone = measure_spread([0.0, 1.0], ["p", "p"])
    assert math.isnan(alone.mean_low)
    assert math.isnan(alone.mean_high)


def test_no_value():
    assert all(map(math.isnan, astuple(measure_spread([math.nan]))))
