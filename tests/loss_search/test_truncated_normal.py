import numpy as np
import pytest
import torch
from scipy import stats

from rankseg_med.loss_search.truncated_normal import TruncatedNormal

MEAN = torch.tensor([0.0, 0.3, 0.55, 1.0], dtype=torch.float64)


def reference(mean, sigma=0.2):
    return stats.truncnorm(-mean / sigma, (1 - mean) / sigma, loc=mean, scale=sigma)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 2.0])
def test_log_density_is_scipys(sigma):
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = reference(MEAN.numpy(), sigma).logpdf(x.numpy()).sum(1)
    np.testing.assert_allclose(TruncatedNormal(MEAN, sigma).log_density(x), expected, rtol=1e-9)


def test_gradient_is_the_differences_of_scipys():
    x = torch.tensor([[0.1, 0.9, 0.4, 0.7]], dtype=torch.float64)
    mean = MEAN.clone().requires_grad_()
    TruncatedNormal(mean, 0.2).log_density(x).sum().backward()
    step = 1e-6
    above, below = (reference(MEAN.numpy() + sign * step).logpdf(x.numpy()) for sign in (1, -1))
    np.testing.assert_allclose(mean.grad, ((above - below) / (2 * step))[0], rtol=1e-5)


def test_samples_have_the_distribution():
    drawn = TruncatedNormal(MEAN, 0.2).sample(400, np.random.default_rng(0)).numpy()
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    for column, mean in zip(drawn.T, MEAN.numpy(), strict=True):
        assert stats.kstest(column, reference(mean).cdf).pvalue > 0.01
