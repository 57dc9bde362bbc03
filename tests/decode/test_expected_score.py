import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from rankseg_med.decode import Distribution, Objective
from rankseg_med.decode.expected_score import expected_score_of_mask, score_bounds
from tests.decode.oracles import score_of_every_mask, score_of_mask, volume_distribution

METRICS = ("dice", "iou")


def distribution(probabilities: np.ndarray, counts: np.ndarray | None = None) -> Distribution:
    """Of exact probabilities, not of levels."""
    counts = np.ones(len(probabilities)) if counts is None else counts.astype(float)
    levels = torch.arange(len(probabilities), 0, -1)
    return Distribution(levels, torch.from_numpy(probabilities), torch.from_numpy(counts))


def scores(probabilities: np.ndarray, metric: str, solver: str = "exact", counts: np.ndarray | None = None):
    return Objective(metric, solver).scores_of_thresholds(distribution(probabilities, counts)).numpy()


distinct_probabilities = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=9, unique=True).map(
    lambda values: np.array(sorted(values, reverse=True))
)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=150, deadline=None)
@given(probabilities=distinct_probabilities)
def test_best_threshold_is_the_best_of_all_masks(probabilities, metric):
    masks, mask_scores = score_of_every_mask(probabilities, metric)
    ours = scores(probabilities, metric)
    assert ours.max() == pytest.approx(mask_scores[masks.any(1)].max(), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=150, deadline=None)
@given(probabilities=distinct_probabilities)
def test_every_integrated_threshold_agrees_with_enumeration(probabilities, metric):
    masks, mask_scores = score_of_every_mask(probabilities, metric)
    by_prefix = {tuple(mask): score for mask, score in zip(masks, mask_scores, strict=True)}
    for kept, ours in enumerate(scores(probabilities, metric), start=1):
        truth = by_prefix[tuple(i < kept for i in range(len(probabilities)))]
        if np.isneginf(ours):
            assert truth < mask_scores.max(), "a threshold was left out that is as good as the best"
        else:
            assert ours == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_twelve_voxels_against_enumeration(metric):
    probabilities = np.sort(np.random.default_rng(3).beta(0.6, 0.8, 12))[::-1].copy()
    masks, mask_scores = score_of_every_mask(probabilities, metric)
    assert scores(probabilities, metric).max() == pytest.approx(mask_scores[masks.any(1)].max(), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=100, deadline=None)
@given(probabilities=distinct_probabilities, data=st.data())
def test_any_mask_agrees_with_enumeration(probabilities, metric, data):
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(probabilities), max_size=len(probabilities))))
    masks, mask_scores = score_of_every_mask(probabilities, metric)
    ours = expected_score_of_mask(distribution(probabilities), distribution(probabilities[kept]), metric, "exact")
    truth = mask_scores[(masks == kept).all(1)].item() if kept.any() else 0.0
    assert ours == pytest.approx(truth, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(probabilities=distinct_probabilities)
def test_blind_approximation_is_its_definition(probabilities):
    """2 S(t) E[1 / (t + 1 + G)], G over all voxels, from the volume's distribution."""
    volumes = volume_distribution(probabilities)
    for kept, ours in enumerate(scores(probabilities, "dice", "ba"), start=1):
        truth = 2 * probabilities[:kept].sum() * (volumes / (kept + 1 + np.arange(len(volumes)))).sum()
        if np.isfinite(ours):
            assert ours == pytest.approx(truth, abs=1e-9)


def test_smoothing_is_the_published_formula():
    probabilities = np.array([0.9, 0.5, 0.25])
    smooth = 2.0
    dice = score_bounds(distribution(probabilities), "dice", "rma", smooth).lower.numpy()
    iou = score_bounds(distribution(probabilities), "iou", "rma", smooth).lower.numpy()
    np.testing.assert_allclose(dice, [1.8 / 5.65 + 2 / 4.65, 2.8 / 6.65 + 2 / 5.65, 3.3 / 7.65 + 2 / 6.65], rtol=1e-12)
    np.testing.assert_allclose(iou, [2.9 / 3.75, 3.4 / 4.25, 3.65 / 5.0], rtol=1e-12)


def draw(kind: str, size: int) -> np.ndarray:
    rng = np.random.default_rng(size)
    values = {
        "uniform": lambda: rng.random(size),
        "confident": lambda: rng.beta(0.05, 0.2, size),
        "faint": lambda: 0.1 * rng.random(size),
        "one among many": lambda: np.r_[0.9, 0.01 * rng.random(size - 1)],
        "certain core": lambda: np.r_[np.ones(size // 4), rng.random(size - size // 4)],
    }[kind]()
    return np.sort(np.clip(values, 1e-9, 1))[::-1].copy()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["uniform", "confident", "faint", "one among many", "certain core"])
@pytest.mark.parametrize("size", [60, 250])
def test_hundreds_of_voxels_against_the_definition(kind, size, metric):
    probabilities = draw(kind, size)
    ours = scores(probabilities, metric)
    kept_volumes = sorted({*range(1, size + 1, 23), int(ours.argmax()) + 1})
    truth = {kept: score_of_mask(probabilities, np.arange(size) < kept, metric) for kept in kept_volumes}
    assert ours.max() == pytest.approx(truth[int(ours.argmax()) + 1], abs=1e-9)
    for kept, score in truth.items():
        assert score <= ours.max() + 1e-9
        if np.isfinite(ours[kept - 1]):
            assert ours[kept - 1] == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("solver", ["exact", "rma"])
def test_counts_stand_for_repeated_voxels(metric, solver):
    probabilities = np.array([0.95, 0.6, 0.3, 0.05])
    counts = np.array([3, 1, 4, 7])
    one_by_one = scores(np.repeat(probabilities, counts), metric, solver)
    grouped = scores(probabilities, metric, solver, counts)
    comparable = np.isfinite(grouped)
    assert comparable.any()
    np.testing.assert_allclose(grouped[comparable], one_by_one[counts.cumsum() - 1][comparable], atol=1e-12)


def test_rma_is_the_published_formula():
    probabilities = np.array([0.9, 0.5, 0.25])
    # m = 1.65; Dice 2 S(t) / (t + m + 1), IoU S(t) / (t + m - S(t)), worked by hand.
    np.testing.assert_allclose(scores(probabilities, "dice", "rma"), [1.8 / 3.65, 2.8 / 4.65, 3.3 / 5.65], rtol=1e-12)
    np.testing.assert_allclose(scores(probabilities, "iou", "rma"), [0.9 / 1.75, 1.4 / 2.25, 1.65 / 3.0], rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=60, deadline=None)
@given(probabilities=distinct_probabilities)
def test_rma_never_exceeds_the_exact_score(probabilities, metric):
    """1 / x is convex (Jensen), so the approximation is a lower bound."""
    exact = scores(probabilities, metric)
    assert (scores(probabilities, metric, "rma") <= np.where(np.isfinite(exact), exact, np.inf) + 1e-12).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("background", [10**5, 10**8])
def test_large_volumes_against_adaptive_quadrature(metric, background):
    """A CT-sized histogram against SciPy's adaptive quadrature over u itself, not its logarithm."""
    probabilities = np.array([1.0, 0.99, 0.8, 0.51, 0.4, 0.3, 0.1, 1e-3, 1e-6])
    counts = np.array([2000, 3000, 500, 300, 250, 400, 900, 5000, background])
    ours = scores(probabilities, metric, counts=counts)
    best = int(ours.argmax())
    kept, m = counts.cumsum()[best], counts @ probabilities

    def integrand(one_minus_u: float) -> float:
        logs = counts * np.log1p(-probabilities * one_minus_u)
        if metric == "dice":
            inner = (counts * probabilities / (1 - probabilities * one_minus_u))[: best + 1].sum()
            return 2 * np.exp(kept * np.log1p(-one_minus_u) + logs.sum()) * inner
        mass = (counts * probabilities)[: best + 1].sum()
        return mass * np.exp((kept - 1) * np.log1p(-one_minus_u) + logs[best + 1 :].sum())

    # The integrand decays over 1 / (kept + m) near u = 1; beyond 60 such lengths it is below 1e-26.
    truth, error = quad(integrand, 0, 60 / (kept + m), epsabs=1e-13, epsrel=1e-13, limit=200)
    assert error < 1e-10
    assert ours[best] == pytest.approx(truth, abs=1e-9)
    whole = distribution(probabilities, counts)
    mask = distribution(probabilities[: best + 1], counts[: best + 1])
    assert expected_score_of_mask(whole, mask, metric, "exact") == pytest.approx(truth, abs=1e-9)
