import math

import numpy as np
import pytest
from scipy import stats

from rankseg_med.metrics.bootstrap import bootstrap_interval, totals_by_unit


def test_agrees_with_scipy():
    values = np.random.default_rng(1).normal(0.8, 0.1, size=40)
    expected = stats.bootstrap([values], np.mean, method="percentile", n_resamples=10_000, rng=3).confidence_interval
    assert bootstrap_interval(values, np.ones(40)) == pytest.approx(tuple(expected), abs=2e-3)


def test_equal_seeds_give_equal_intervals():
    values = np.array([0.1, 0.7, 0.9])
    assert bootstrap_interval(values, np.ones(3), seed=5) == bootstrap_interval(values, np.ones(3), seed=5)


def test_totals():
    values = np.array([1.0, 2.0, 4.0])
    totals, sizes = totals_by_unit(values, ["b", "a", "b"])
    assert (totals.tolist(), sizes.tolist()) == ([2, 5], [1, 2])
    totals, sizes = totals_by_unit(values, None)
    assert (totals.tolist(), sizes.tolist()) == ([1, 2, 4], [1, 1, 1])


def test_one_value_has_no_interval():
    assert all(math.isnan(bound) for bound in bootstrap_interval(np.array([0.5]), np.ones(1)))
