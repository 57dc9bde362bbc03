import math
import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rankseg_med.metrics.rank_stability import kendall_tau, rank_stability
from rankseg_med.metrics.ranking_schemes import mean_gains, ranks_by
from rankseg_med.metrics.score_matrix import gather_scores

RANKS = st.lists(st.integers(1, 4), min_size=4, max_size=4)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(RANKS, RANKS)
def test_tau_agrees_with_scipy(ranks, sampled):
    found = kendall_tau(np.array(ranks, float), np.array([sampled], float))[0]
    if len(set(ranks)) == 1:
        assert math.isnan(found)
    elif len(set(sampled)) == 1:
        assert found == 0
    else:
        assert found == pytest.approx(stats.kendalltau(ranks, sampled).statistic)


def test_against_all_samples_there_are():
    """Of three patients, one with two cases: 27 equally likely draws."""
    table = np.array([[0.9, 0.5, 0.6], [0.8, 0.5, 0.6], [0.3, 0.7, 0.6], [0.7, 0.6, 0.2]])
    scores = {str(run): dict(zip("wxyz", map(float, table[:, run]), strict=True)) for run in range(3)}
    matrix = gather_scores(scores, "dice", dict(zip("wxyz", "aabc", strict=True)))
    draws = np.array([np.bincount(draw, minlength=3) for draw in product(range(3), repeat=3)], float)
    ranks = ranks_by(mean_gains(matrix, np.ones((1, 3))))[0]
    sampled = ranks_by(mean_gains(matrix, draws))
    stability = rank_stability(matrix, mean_gains, 0.8, resamples=20_000, seed=0)
    assert stability.first == pytest.approx((sampled == 1).mean(0), abs=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        taus = [stats.kendalltau(ranks, of_sample).statistic for of_sample in sampled]
    assert stability.tau == pytest.approx(np.mean(taus), abs=0.02)
    assert stability.low.tolist() == np.quantile(sampled, 0.1, axis=0, method="inverted_cdf").tolist()
    assert stability.high.tolist() == np.quantile(sampled, 0.9, axis=0, method="inverted_cdf").tolist()


def test_many_cases_are_drawn_in_batches():
    generator = np.random.default_rng(0)
    scores = {run: {str(case): float(score) for case, score in enumerate(generator.random(3_000))} for run in "abc"}
    matrix = gather_scores(scores, "dice", None)
    samples = []

    def merit(matrix, draws):
        samples.append(draws)
        return mean_gains(matrix, draws)

    rank_stability(matrix, merit, 0.95, resamples=400, seed=0)
    assert max(draws.size for draws in samples) <= 500_000
    assert sum(map(len, samples[1:])) == 400
    assert all((draws.sum(1) == 3_000).all() for draws in samples)


def test_one_patient_says_nothing():
    matrix = gather_scores({run: {"x": 0.5, "y": 0.5} for run in "abc"}, "dice", {"x": "p", "y": "p"})
    stability = rank_stability(matrix, mean_gains, 0.95, resamples=10, seed=0)
    assert np.isnan([*stability.low, *stability.high, *stability.first, stability.tau, *stability.tau_interval]).all()
