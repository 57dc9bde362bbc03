import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from rankseg_med.calibration import MonotoneMap
from rankseg_med.calibration.bins import BINS, bin_of
from rankseg_med.calibration.monotone_map import IDENTITY, apply_map


def binned(p, y, weights=None):
    p, y = torch.as_tensor(p, dtype=torch.float32), torch.as_tensor(y, dtype=torch.float64)
    weights = torch.ones_like(y) if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    rows = (weights, weights * y, weights * p.double())
    return [torch.zeros(BINS, dtype=torch.float64).index_add_(0, bin_of(p), row) for row in rows]


def at(found, p):
    return apply_map(torch.as_tensor(p, dtype=torch.float32), found.knots()).double().numpy()


def by_hand(y, weights):
    """The max-min formula of isotonic regression (Barlow et al. 1972), in every point over all intervals around it."""
    n = len(y)

    def mean(a, b):
        return (y[a : b + 1] * weights[a : b + 1]).sum() / weights[a : b + 1].sum()

    return np.array([max(min(mean(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)])


# One in each of so many bins, so that nothing is lost by counting.
APART = np.concatenate([2.0 ** np.arange(-29, -2), np.arange(8, 31) / 32, 1 - 2.0 ** -np.arange(6, 20)])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_as_without_bins(seed, weighted):
    random = np.random.default_rng(seed)
    p = np.sort(random.choice(APART, 25, replace=False)).astype(np.float32)
    assert len(bin_of(torch.tensor(p)).unique()) == 25
    y = (random.random(25) < p).astype(float)
    weights = random.uniform(0.1, 5, 25) if weighted else np.ones(25)
    found = at(MonotoneMap.fit(*binned(p, y, weights)), p)
    np.testing.assert_allclose(found, by_hand(y, weights), atol=1e-6)
    np.testing.assert_allclose(found, isotonic_regression(y, weights=weights).x, atol=1e-6)


def test_close_to_that_of_many_voxels_without_bins():
    random = np.random.default_rng(0)
    p = np.sort(random.beta(0.3, 2, 50_000)).astype(np.float32)
    y = (random.random(50_000) < p**2).astype(float)
    found, exact = at(MonotoneMap.fit(*binned(p, y)), p), isotonic_regression(y).x
    assert np.abs(found - exact).mean() < 2e-3
    assert abs(found.sum() - y.sum()) < 0.002 * y.sum()


def test_pools_keep_the_number_of_positive_voxels():
    p = np.array([0.1] * 10 + [0.2] * 10 + [0.7] * 10)
    y = np.array([1] * 6 + [0] * 4 + [1] * 2 + [0] * 8 + [1] * 9 + [0])
    found = MonotoneMap.fit(*binned(p, y))
    np.testing.assert_allclose(found.probability, [0, 0.1, 0.2, 0.7, 1], rtol=1e-6)
    np.testing.assert_allclose(found.calibrated, [0, 0.4, 0.4, 0.9, 0.9], rtol=1e-6)
    np.testing.assert_allclose(at(found, p).sum(), y.sum(), rtol=1e-6)
    # Between pools linear, within one flat, beyond the last as there.
    np.testing.assert_allclose(at(found, [0.05, 0.15, 0.45, 0.9]), [0.2, 0.4, 0.65, 0.9], rtol=1e-6)


class TestZero:
    def test_stays_zero_where_nothing_so_small_was_seen(self):
        found = MonotoneMap.fit(*binned([0.3] * 10, [1] * 9 + [0]))
        np.testing.assert_allclose(at(found, [0, 1e-6, 0.3, 1]), [0, 3e-6, 0.9, 0.9], rtol=1e-5)

    def test_becomes_what_a_hundred_million_voxels_say(self):
        voxels, positive, mass = binned([0.0, 0.01, 0.9], [0, 0, 1])
        voxels[0], positive[0] = 1e8, 50
        found = MonotoneMap.fit(voxels, positive, mass)
        assert at(found, [0])[0] * 1e8 == pytest.approx(50, rel=1e-5)

    def test_a_few_positive_ones_far_out_make_no_phantoms(self):
        # 1 of 10 at 0, among a hundred million voxels at 1e-8: pooled with them.
        voxels, positive, mass = binned([0.0, 1e-8, 0.9], [0, 0, 1])
        voxels[0], positive[0] = 10, 1
        row = int(bin_of(torch.tensor(1e-8)))
        voxels[row], mass[row] = 1e8, 1.0
        found = at(MonotoneMap.fit(voxels, positive, mass), [0, 1e-8])
        assert found[1] * 1e8 == pytest.approx(1, rel=1e-4)
        assert found[0] == found[1]

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10**6))
    def test_is_never_likelier_than_voxels_are_on_the_whole(self, seed):
        random = np.random.default_rng(seed)
        p = random.random(60).astype(np.float32) * random.integers(0, 2, 60).astype(np.float32)
        y = (random.random(60) < 0.3).astype(float)
        assert at(MonotoneMap.fit(*binned(p, y)), [0])[0] <= y.mean() + 1e-6


def test_one_is_one_where_all_such_voxels_were_positive():
    assert at(MonotoneMap.fit(*binned([0.0, 1.0], [0, 1])), [0, 0.25, 1]).tolist() == [0, 0.25, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_never_falls_and_never_leaves_the_unit_interval(seed):
    random = np.random.default_rng(seed)
    p = random.beta(0.2, 0.5, 300).astype(np.float32)
    found = MonotoneMap.fit(*binned(p, random.random(300) < random.random(300)))
    x = torch.tensor(
        np.sort(np.concatenate([p, random.random(5000).astype(np.float32), found.probability])), dtype=torch.float32
    )
    y = apply_map(torch.cat([x, torch.nextafter(x, torch.ones(()))]).sort().values, found.knots())
    assert (y.diff() >= 0).all()
    assert float(y.min()) >= 0
    assert float(y.max()) <= 1


def test_the_identity():
    p = torch.cat([torch.rand(1000), torch.logspace(-30, 0, 100), torch.zeros(1)])
    assert torch.equal(apply_map(p, IDENTITY.knots()), p)


def test_outside_and_not_a_number():
    found = apply_map(torch.tensor([-0.1, 1.1, torch.nan]), IDENTITY.knots())
    assert found[:2].tolist() == [0, 1]
    assert found[2].isnan()


@pytest.mark.parametrize(
    ("probability", "calibrated", "message"),
    [
        ((0.0,), (0.0,), "at least two knots"),
        ((0.0, 1.0), (0.0, 0.5, 1.0), "found 2 probabilities and 3 calibrated values"),
        ((0.1, 1.0), (0.0, 1.0), "must ascend from 0 to 1, got 0.1, 1"),
        ((0.0, 0.5, 0.5, 1.0), (0.0, 0.1, 0.2, 1.0), "must ascend from 0 to 1"),
        ((0.0, 1.0), (0.0, 1.1), r"must lie in \[0, 1\], got 0, 1.1"),
        ((0.0, 1.0), (0.0, float("nan")), r"must lie in \[0, 1\]"),
        ((0.0, 0.5, 1.0), (0.0, 0.6, 0.5), "must never fall, got 0, 0.6, 0.5"),
    ],
)
def test_what_is_no_map(probability, calibrated, message):
    with pytest.raises(ValueError, match=message):
        MonotoneMap(probability, calibrated)
