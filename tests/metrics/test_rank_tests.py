import math

import numpy as np
import pytest

from rankseg_med.metrics.rank_tests import friedman_nemenyi, holm

# Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), table 6: AUC of C4.5 as it is,
# with m, with cf and with both. He ranked unrounded numbers: of the two 0.975 that he prints, the first is the better.
DEMSAR = np.array(
    [
        *([0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967]),
        *([0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931]),
        *([0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875]),
        *([1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669]),
        *([0.972, 0.981, 0.97501, 0.975], [0.957, 0.978, 0.946, 0.970]),
    ]
)


class TestAsPublished:
    def test_ranks(self):
        assert friedman_nemenyi(DEMSAR).mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)

    def test_friedman(self):
        # His chi-square, 9.28, is without the correction for ties: three pairs and a four of 14 rows of 4.
        corrected = 9.28 / (1 - (3 * (2**3 - 2) + (4**3 - 4)) / (14 * (4**3 - 4)))
        assert friedman_nemenyi(DEMSAR).friedman_statistic == pytest.approx(corrected, abs=5e-3)

    @pytest.mark.parametrize(("alpha", "q"), [(0.05, 2.569), (0.10, 2.291)])
    def test_critical_difference(self, alpha, q):
        # His table 5 of q, and his equation.
        expected = q * math.sqrt(4 * 5 / (6 * 14))
        assert friedman_nemenyi(DEMSAR, alpha).critical_difference == pytest.approx(expected, abs=5e-4)
        assert expected == pytest.approx({0.05: 1.25, 0.10: 1.12}[alpha], abs=5e-3)

    def test_pairs(self):
        # What scikit-posthocs 0.17.1 gives, posthoc_nemenyi_friedman.
        expected = [
            [1.0, 0.088673, 0.956177, 0.074185],
            [0.088673, 1.0, 0.259228, 0.999859],
            [0.956177, 0.259228, 1.0, 0.226697],
            [0.074185, 0.999859, 0.226697, 1.0],
        ]
        np.testing.assert_allclose(friedman_nemenyi(DEMSAR).nemenyi_p, expected, atol=1e-6)


def test_a_perfect_order():
    # Friedman's chi-square is then n (k - 1), the largest that there is.
    tests = friedman_nemenyi(np.tile([4.0, 3.0, 2.0, 1.0], (8, 1)))
    assert tests.mean_ranks == (1, 2, 3, 4)
    assert tests.friedman_statistic == pytest.approx(8 * 3)


def test_runs_that_are_all_alike():
    tests = friedman_nemenyi(np.full((4, 3), 0.5))
    assert (tests.friedman_statistic, tests.friedman_p) == (0, 1)
    assert np.array(tests.nemenyi_p) == pytest.approx(np.ones((3, 3)))


def test_what_a_run_missed_is_worst():
    missed, last = ([[0.9, 0.8, worst], [0.7, 0.9, 0.8]] for worst in (-math.inf, 0.0))
    assert friedman_nemenyi(np.array(missed)) == friedman_nemenyi(np.array(last))


def test_few_blocks():
    assert friedman_nemenyi(DEMSAR[:9]).is_rough
    assert not friedman_nemenyi(DEMSAR[:10]).is_rough


def test_no_blocks():
    tests = friedman_nemenyi(np.empty((0, 3)))
    assert tests.n_blocks == 0
    assert all(map(math.isnan, (*tests.mean_ranks, tests.friedman_p, tests.critical_difference)))


def test_two_runs_are_too_few():
    with pytest.raises(ValueError, match="at least 3 runs, got 2; compare two runs as a pair"):
        friedman_nemenyi(np.zeros((4, 2)))


class TestHolm:
    def test_by_hand(self):
        # 4 * 0.005, 3 * 0.01, 2 * 0.03, 1 * 0.04 raised to the one before.
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_no_more_than_one(self):
        assert holm([0.6, 0.7]).tolist() == [1, 1]

    def test_no_test_is_not_counted(self):
        assert holm([0.01, math.nan, 0.04]) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)

    def test_each_row_for_itself(self):
        assert holm(np.array([[0.01, 0.02], [0.5, 0.1]])) == pytest.approx(np.array([[0.02, 0.02], [0.5, 0.2]]))

    def test_nothing(self):
        assert holm([]).size == 0
