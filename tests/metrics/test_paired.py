import math
import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rankseg_med.metrics.paired import CaseDifference, Outcomes, compare_paired

NOTHING = math.nan


def named(values):
    return {f"case_{index}": float(value) for index, value in enumerate(values)}


A = {"p1_x": 0.50, "p1_y": 0.60, "p2_x": 0.70, "p3_x": 0.80, "p4_x": 0.90}
B = {"p1_x": 0.75, "p1_y": 0.35, "p2_x": 0.70, "p3_x": 0.805, "p4_x": 0.95}


class TestByHand:
    def test_means_outcomes_and_extremes(self):
        result = compare_paired(A, B)
        assert (result.n_cases, result.n_patients) == (5, 5)
        assert (result.mean_a, result.mean_b) == pytest.approx((0.70, 0.711))
        assert result.mean_difference == pytest.approx(0.011)
        assert result.outcomes == (Outcomes(0.0, wins=3, ties=1, losses=1), Outcomes(0.01, wins=2, ties=2, losses=1))
        assert (result.worst, result.best) == (CaseDifference("p1_y", -0.25), CaseDifference("p1_x", 0.25))
        assert not result.unpaired

    def test_for_distances_less_is_better(self):
        result = compare_paired(A, B, "hd_mm", thresholds=[0.0])
        assert result.mean_difference == pytest.approx(0.011)
        assert result.outcomes == (Outcomes(0.0, wins=1, ties=1, losses=3),)
        assert (result.worst.case_id, result.best.case_id) == ("p1_x", "p1_y")

    def test_sign_test(self):
        # 3 wins and 1 loss: P(at most 1 or at least 3 of 4 heads) = 10 / 16.
        assert compare_paired(A, B).sign_test_p == pytest.approx(10 / 16)

    def test_patients_are_the_units_of_tests_and_interval(self):
        patients = {case_id: case_id[:2] for case_id in A}
        result = compare_paired(A, B, patients=patients, resamples=200_000)
        assert (result.n_cases, result.n_patients) == (5, 4)
        assert result.mean_difference == pytest.approx(0.011)
        # The differences of p1 cancel, up to rounding, and p2 has none: p3 and p4 are left, both better.
        assert result.sign_test_p == pytest.approx(2 * 0.5**2)
        # All 4^4 equally likely draws of four patients.
        totals, sizes = np.array([0.0, 0.0, 0.005, 0.05]), np.array([2, 1, 1, 1])
        means = [totals[list(draw)].sum() / sizes[list(draw)].sum() for draw in product(range(4), repeat=4)]
        assert result.interval == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=2e-4)

    def test_cases_of_one_patient_are_no_independent_evidence(self):
        a = named(np.zeros(40))
        b = named(np.repeat([0.1, -0.05, 0.02, -0.04], 10))
        alone = compare_paired(a, b)
        clustered = compare_paired(a, b, patients={case_id: str(int(case_id[5:]) // 10) for case_id in a})
        assert clustered.mean_difference == pytest.approx(alone.mean_difference)
        assert np.ptp(clustered.interval) > 2 * np.ptp(alone.interval)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75]), st.sampled_from([0.0, 0.25, 0.5, 0.75])),
        min_size=2,
        max_size=8,
    )
)
def test_tests_agree_with_scipy(scores):
    a, b = np.array(scores).T
    result = compare_paired(named(a), named(b), resamples=10)
    if (a == b).all():
        assert result.wilcoxon_p == result.sign_test_p == 1
    else:
        assert result.wilcoxon_p == pytest.approx(stats.wilcoxon(b, a).pvalue)
        assert result.sign_test_p == pytest.approx(stats.binomtest(int((b > a).sum()), int((b != a).sum())).pvalue)


def test_interval_agrees_with_scipy():
    generator = np.random.default_rng(0)
    a = generator.random(30)
    b = a + generator.normal(0.02, 0.1, 30)
    expected = stats.bootstrap(
        (b - a,), np.mean, method="percentile", n_resamples=50_000, confidence_level=0.9, batch=5_000
    ).confidence_interval
    interval = compare_paired(named(a), named(b), confidence=0.9, resamples=50_000).interval
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_interval_covers_the_truth():
    """About as often as it says: percentile intervals of 40 cases fall a little short."""
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        low, high = compare_paired(named(np.zeros(40)), named(generator.normal(0.3, 1, 40)), resamples=500).interval
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 300 <= 0.98


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_swapping_the_runs_swaps_wins_and_losses(scores):
    a, b = (named(side) for side in np.array(scores).T)
    there, back = compare_paired(a, b, resamples=50), compare_paired(b, a, resamples=50)
    assert there.mean_difference == pytest.approx(-back.mean_difference)
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]), nan_ok=True)
    assert there.wilcoxon_p == pytest.approx(back.wilcoxon_p)
    assert there.sign_test_p == pytest.approx(back.sign_test_p)
    for outcome, mirrored in zip(there.outcomes, back.outcomes, strict=True):
        assert (outcome.wins, outcome.ties, outcome.losses) == (mirrored.losses, mirrored.ties, mirrored.wins)
        assert outcome.wins + outcome.ties + outcome.losses == len(scores)


def test_memory_of_many_cases_is_bounded():
    a, b = np.random.default_rng(3).random((2, 5_000))
    runs = named(a), named(b)
    tracemalloc.start()
    try:
        compare_paired(*runs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30e6


def test_rounding_is_no_change():
    """0.81 - 0.8 is a little more than 0.01, and three changes that cancel add up to a little more than 0."""
    result = compare_paired({"p1": 0.8}, {"p1": 0.81})
    assert result.outcomes[1] == Outcomes(0.01, wins=0, ties=1, losses=0)
    changes = [0.1, 0.2, -0.3]
    assert sum(changes) > 0
    result = compare_paired(named(np.zeros(3)), named(changes), patients=dict.fromkeys(named(changes), "p1"))
    assert result.sign_test_p == result.wilcoxon_p == 1
    # Tenths that are ties, as SciPy has it of whole numbers.
    a, b = [4, 3, 1, 9, 5, 2], [3, 2, 3, 8, 3, 8]
    result = compare_paired(named(np.array(a) / 10), named(np.array(b) / 10))
    assert result.wilcoxon_p == pytest.approx(stats.wilcoxon(b, a).pvalue)


def test_seeds():
    generator = np.random.default_rng(2)
    a, b = named(generator.random(20)), named(generator.random(20))
    assert compare_paired(a, b) == compare_paired(a, b, seed=0)
    assert compare_paired(a, b).interval != compare_paired(a, b, seed=1).interval


def test_cases_without_a_score_are_named():
    a = {"both": 0.5, "only_a": 0.5, "undefined_b": 0.5, "undefined": NOTHING, "undefined_a": NOTHING}
    b = {"both": 0.6, "only_b": 0.5, "undefined_b": NOTHING, "undefined": NOTHING, "undefined_a": 0.1}
    result = compare_paired(a, b)
    assert result.n_cases == 1
    assert result.unpaired == {
        "only_a": "no score in B",
        "only_b": "no score in A",
        "undefined": "no score in A and B",
        "undefined_a": "no score in A",
        "undefined_b": "no score in B",
    }


@pytest.mark.parametrize("scores", [{}, {"undefined": NOTHING}])
def test_nothing_to_compare(scores):
    result = compare_paired(scores, scores, patients={})
    assert (result.n_cases, result.n_patients, result.worst, result.best) == (0, 0, None, None)
    numbers = (result.mean_a, result.mean_b, result.mean_difference, *result.interval)
    assert all(map(math.isnan, (*numbers, result.wilcoxon_p, result.sign_test_p)))
    assert {(row.wins, row.ties, row.losses) for row in result.outcomes} == {(0, 0, 0)}


def test_one_case():
    result = compare_paired({"case": 0.5}, {"case": 0.75})
    assert result.mean_difference == 0.25
    assert all(map(math.isnan, result.interval))
    assert result.wilcoxon_p == result.sign_test_p == 1
    assert result.worst == result.best == CaseDifference("case", 0.25)


def test_all_equal():
    scores = named([0.1, 0.5, 0.9])
    result = compare_paired(scores, scores)
    assert (result.mean_difference, *result.interval) == (0, 0, 0)
    assert result.wilcoxon_p == result.sign_test_p == 1
    assert result.outcomes == (Outcomes(0.0, 0, 3, 0), Outcomes(0.01, 0, 3, 0))


@pytest.mark.parametrize(
    ("b", "options", "message"),
    [
        ({"case": math.inf}, {}, "finite, or NaN.*for case"),
        ({"case": 0.5}, {"patients": {"other": "p"}}, "these have none: case"),
        ({"case": 0.5}, {"confidence": 95.0}, r"confidence must be in \(0, 1\)"),
        ({"case": 0.5}, {"resamples": 0}, "resamples positive"),
        ({"case": 0.5}, {"metric": "accuracy"}, "the metrics are dice, .* got 'accuracy'"),
        ({"case": 0.5}, {"metric": "relative_volume_difference"}, "neither more nor less of it is better"),
        ({"case": 0.5}, {"thresholds": [-0.1]}, "thresholds not negative"),
    ],
)
def test_wrong_arguments_are_named(b, options, message):
    with pytest.raises(ValueError, match=message):
        compare_paired({"case": 0.4}, b, **options)
