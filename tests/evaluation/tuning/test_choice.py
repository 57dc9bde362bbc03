"""The rule by hand, and noise against all flips of signs with Student's t of scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rankseg_med.evaluation.tuning.choice import choose, means_by_patient, noise

BASE = np.linspace(0.4, 0.8, 10)
PATIENTS = [f"p{number}" for number in range(10)]
STEADY = np.tile([0.001, -0.001], 5)


def chosen(*gains, patients=PATIENTS):
    return choose(np.stack([BASE, *(BASE + np.asarray(gain) for gain in gains)]), patients, 0)


def test_of_those_within_one_standard_error_the_one_that_harms_fewest():
    # Best: +4 points in the mean, but two cases worse by 2. Near: +3.8, none worse. Far: +1, none worse.
    best = np.array([0.05, 0.055, 0.05, 0.06, 0.055, 0.05, 0.06, 0.06, -0.02, -0.02])
    near = np.array([0.048, 0.048, 0.045, 0.048, 0.048, 0.045, 0.048, 0.048, 0.0, 0.0])
    far = 0.01 + STEADY
    short = best - near
    assert 0 < short.mean() <= short.std(ddof=1) / np.sqrt(10)
    assert (best - far).mean() > (best - far).std(ddof=1) / np.sqrt(10)
    found = chosen(best, near, far)
    assert found.chosen == 2
    assert found.near.tolist() == [False, True, True, False]
    assert found.better.tolist() == [0, 8, 8, 5]
    assert found.worse.tolist() == [0, 2, 0, 0]
    np.testing.assert_allclose(found.mean - BASE.mean(), [0, best.mean(), near.mean(), far.mean()])


def test_of_equal_ones_the_higher_mean_then_the_first():
    assert chosen(0.02 + STEADY, 0.02 + STEADY).chosen == 1
    # Differences to the best vary by more than they are.
    assert chosen(0.0199 - STEADY, 0.02 + STEADY).chosen == 2


def test_argmax_where_it_is_within_one_standard_error_of_the_best():
    noisy = np.array([0.2, -0.15, 0.1, -0.12, 0.2, -0.1, 0.15, -0.2, 0.1, -0.05])
    assert 0 < noisy.mean() <= noisy.std(ddof=1) / np.sqrt(10)
    found = chosen(noisy, noisy - 0.02 - STEADY)
    assert found.chosen == 0
    assert found.near.tolist() == [True, True, False]


def test_what_is_chosen_beats_argmax():
    # The best gains by 3.5 points with two cases worse. The other has none worse, but its mean is below argmax.
    best = np.array([0.06, 0.05, 0.06, 0.05, 0.06, 0.05, 0.06, 0.05, -0.04, -0.05])
    below = np.array([-0.009, -0.009, -0.009, -0.009, -0.009, -0.009, -0.009, -0.009, -0.009, 0.0])
    assert chosen(best, below).chosen == 1


def test_patients_count_the_same():
    scores = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    np.testing.assert_allclose(means_by_patient(scores, ["a", "a", "a", "b"]), [[0, 0], [1, 0]])


def test_many_scans_of_one_patient_are_no_evidence():
    gain = np.concatenate([np.full(40, 0.1), np.zeros(4)])
    scores = np.stack([np.full(44, 0.5), 0.5 + gain])
    assert noise(scores, [f"scan{i}" for i in range(44)], 0)[1] < 0.001
    assert choose(scores, [f"scan{i}" for i in range(44)], 0).chosen == 1
    assert noise(scores, ["a"] * 40 + list("bcde"), 0)[1] == pytest.approx(0.5, abs=0.02)
    assert choose(scores, ["a"] * 40 + list("bcde"), 0).chosen == 0


def test_noise_is_that_of_all_flips_of_signs():
    rng = np.random.default_rng(1)
    gains = np.concatenate([np.zeros((1, 9)), rng.normal(0.4, 1, (3, 9))])
    t = stats.ttest_1samp(gains[1:], 0, axis=1).statistic
    highest = np.array(
        [
            stats.ttest_1samp(gains[1:] * np.array(signs), 0, axis=1).statistic.max(initial=0)
            for signs in itertools.product([-1, 1], repeat=9)
        ]
    )
    expected = [(highest >= one - 1e-9).mean() for one in t]
    found = noise(0.5 + gains / 100, [str(i) for i in range(9)], 0)
    np.testing.assert_allclose(found[1:], expected, atol=0.015)


def test_level_is_kept_where_no_setting_is_better():
    """Of 40 settings that only add noise, one has p < 0.05 in about 5 % of populations."""
    rng = np.random.default_rng(2)
    base = np.full((1, 15), 0.5)
    patients = [str(i) for i in range(15)]
    found = [noise(np.concatenate([base, base + rng.normal(0, 0.05, (40, 15))]), patients, 0).min() for _ in range(200)]
    assert 0.01 <= np.mean(np.array(found) < 0.05) <= 0.1


@given(st.integers(0, 1000), st.integers(5, 12), st.integers(1, 6))
def test_what_is_chosen_is_near_and_harms_fewest(seed, patients, settings):
    scores = np.random.default_rng(seed).random((settings + 1, patients))
    found = choose(scores, [str(i) for i in range(patients)], 0)
    assert found.near[found.chosen]
    if found.near[0]:
        assert found.chosen == 0
    else:
        assert found.mean[found.chosen] > found.mean[0]
        able = found.near & (found.mean > found.mean[0])
        assert found.worse[found.chosen] == found.worse[able].min()
