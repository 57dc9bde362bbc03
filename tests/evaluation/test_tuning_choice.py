"""The rule by hand, and its noise against all flips of signs with Student's t of scipy."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rankseg_med.evaluation.tuning_choice import choose, means_by_patient

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


def test_argmax_where_nothing_beats_it_beyond_noise():
    noise = np.array([0.2, -0.15, 0.1, -0.12, 0.2, -0.1, 0.15, -0.2, 0.1, -0.05])
    found = chosen(noise, -0.02 + STEADY, np.zeros(10))
    assert found.chosen == 0
    assert not found.near.any()
    assert found.p[2] == found.p[0] == 1


def test_a_steady_gain_is_not_hidden_by_a_noisy_higher_one():
    noisy = np.array([0.5, -0.3, 0.4, -0.35, 0.4, -0.2, 0.3, -0.3, 0.2, -0.1])
    assert noisy.mean() > 0.02
    assert chosen(noisy, 0.02 + STEADY).chosen == 2


def test_patients_count_the_same():
    scores = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    np.testing.assert_allclose(means_by_patient(scores, ["a", "a", "a", "b"]), [[0, 0], [1, 0]])


def test_many_scans_of_one_patient_are_no_evidence():
    gain = np.concatenate([np.full(40, 0.1), np.zeros(4)])
    scores = np.stack([np.full(44, 0.5), 0.5 + gain])
    assert choose(scores, [f"scan{i}" for i in range(44)], 0).chosen == 1
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
    found = choose(0.5 + gains / 100, [str(i) for i in range(9)], 0).p
    np.testing.assert_allclose(found[1:], expected, atol=0.015)


def test_level_is_kept_where_no_setting_is_better():
    """Of 40 settings that only add noise, one is taken in about 5 % of populations."""
    rng = np.random.default_rng(2)
    base = np.full((1, 15), 0.5)
    taken = [
        choose(np.concatenate([base, base + rng.normal(0, 0.05, (40, 15))]), [str(i) for i in range(15)], 0).chosen != 0
        for _ in range(200)
    ]
    assert 0.01 <= np.mean(taken) <= 0.1


@given(st.integers(0, 1000), st.integers(5, 12), st.integers(1, 6))
def test_what_is_chosen_is_near_or_the_baseline(seed, patients, settings):
    scores = np.random.default_rng(seed).random((settings + 1, patients))
    found = choose(scores, [str(i) for i in range(patients)], 0, seed=seed)
    assert found.near[found.chosen] if found.near.any() else found.chosen == 0
    if found.near.any():
        assert found.worse[found.chosen] == found.worse[found.near].min()
        assert found.mean[found.chosen] > found.mean[0]
