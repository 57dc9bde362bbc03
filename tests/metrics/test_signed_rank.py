import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rankseg_med.metrics.signed_rank import signed_rank_p

NUMBERS = st.sampled_from([-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.5])


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(NUMBERS, min_size=3, max_size=12), st.integers(0, 1000))
def test_agrees_with_scipy_on_every_sample(numbers, seed):
    differences = np.array(numbers)
    n = len(numbers)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=4)
    above, below = signed_rank_p(differences, draws.astype(float))
    for index, draw in enumerate(draws):
        sample = np.repeat(differences, draw)
        if not sample.any():
            assert above[index] == below[index] == 1
            continue
        for alternative, found in (("greater", above), ("less", below)):
            expected = stats.wilcoxon(sample, alternative=alternative, method="asymptotic", correction=True).pvalue
            assert found[index] == pytest.approx(expected)


def test_differences_that_rounding_alone_tells_apart_are_tied():
    tenths = [4 - 3, 3 - 2, 1 - 3, 9 - 8, 5 - 3, 7 - 7]
    differences = np.array([0.4 - 0.3, 0.3 - 0.2, 0.1 - 0.3, 0.9 - 0.8, 0.5 - 0.3, 0.1 + 0.2 - 0.3])
    assert len(set(abs(differences))) > len(set(map(abs, tenths)))
    above, _ = signed_rank_p(differences, np.ones((1, len(tenths))))
    expected = stats.wilcoxon(tenths, alternative="greater", method="asymptotic", correction=True).pvalue
    assert above == pytest.approx(expected)


def test_no_differences():
    for differences in (np.zeros(3), np.zeros(0)):
        above, below = signed_rank_p(differences, np.ones((2, len(differences))))
        assert above.tolist() == below.tolist() == [1, 1]
