"""Agreement with scipy, with hand-made cases, and with brute force."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from rankseg_med.evaluation.quality import aurc, quality_of, risk_coverage, soft_dice


def test_by_hand():
    found = quality_of(np.array([0.9, 0.8, 0.4]), np.array([0.7, 0.9, 0.2]))
    assert found.cases == 3
    assert found.bias == pytest.approx((0.2 - 0.1 + 0.2) / 3)
    assert found.mean_absolute_error == pytest.approx(0.5 / 3)
    assert found.spearman == pytest.approx(0.5)
    # Risks 0.3, 0.1, 0.8 in the order of confidence.
    assert found.aurc == pytest.approx((0.3 + 0.2 + 0.4) / 3)


def test_against_scipy():
    rng = np.random.default_rng(0)
    expected, true = rng.random(50), rng.random(50).round(1)
    found = quality_of(expected, true)
    assert found.spearman == pytest.approx(stats.pearsonr(stats.rankdata(expected), stats.rankdata(true)).statistic)
    risks = (1 - true)[np.argsort(-expected)]
    np.testing.assert_allclose(risk_coverage(expected, true), [risks[: k + 1].mean() for k in range(50)])


def test_ties_are_the_mean_over_all_orders():
    confidence, score = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([0.8, 0.1, 0.7, 0.4, 0.9])
    areas = []
    for order in itertools.permutations([1, 2, 3]):
        risks = 1 - score[[0, *order, 4]]
        areas.append(np.mean([risks[: k + 1].mean() for k in range(5)]))
    assert aurc(confidence, score) == pytest.approx(np.mean(areas))


def test_a_constant_knows_nothing_and_the_truth_everything():
    true = np.array([0.9, 0.1, 0.5, 0.7])
    constant = quality_of(np.full(4, true.mean()), true)
    assert constant.aurc == pytest.approx(1 - true.mean())
    assert constant.bias == pytest.approx(0)
    assert math.isnan(constant.spearman)
    perfect = quality_of(true, true)
    assert (perfect.bias, perfect.mean_absolute_error, perfect.spearman) == (0, 0, pytest.approx(1))
    worst = aurc(-true, true)
    every = [aurc(np.array(order, float), true) for order in itertools.permutations(range(4))]
    assert perfect.aurc == pytest.approx(min(every))
    assert worst == pytest.approx(max(every))


def test_soft_dice():
    probabilities = np.array([[0.9, 0.6], [0.3, 0.2]], np.float32)
    mask = probabilities > 0.5
    assert soft_dice(probabilities, mask) == pytest.approx(2 * 1.5 / (2.0 + 2))
    assert soft_dice(probabilities, np.zeros_like(mask)) == 0
    assert soft_dice(np.zeros((2, 2)), np.zeros((2, 2), bool)) == 1
    assert soft_dice(mask.astype(float), mask) == 1


@pytest.mark.parametrize(("expected", "true"), [([], []), ([0.5], [math.nan]), ([math.inf], [0.5])])
def test_scores_must_be_finite(expected, true):
    with pytest.raises(ValueError, match="scores of at least one case are needed, all finite"):
        quality_of(np.array(expected, float), np.array(true, float))
