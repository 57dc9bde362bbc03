import numpy as np
import pytest
import torch
from monai.visualize import SmoothGrad

from rankseg_med.errors import InputError
from rankseg_med.pretraining import Explainer

SHAPE = (2, 3, 4, 5)


class Linear(torch.nn.Module):
    """Logits 0 and the sum of weights times voxels."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = (self.weight * x).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


class Square(torch.nn.Module):
    """Half the sum of squares, of which the gradient is the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x**2 / 2).flatten(1).sum(1, keepdim=True)


@pytest.fixture
def image():
    return torch.from_numpy(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))


@pytest.fixture
def weights():
    return [torch.from_numpy(np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)) for seed in (1, 2)]


def test_the_gradient_of_a_linear_classifier_is_its_weight(image, weights):
    """Whatever the noise."""
    monais = SmoothGrad(Linear(weights[0]), 0.5, 3, magnitude=False, verbose=False)(image[None], 1)
    torch.testing.assert_close(monais[0], weights[0])
    found = Explainer(samples=3, noise=0.5)([Linear(weights[0])], image, 1)
    expected = weights[0].abs().sum(0)
    torch.testing.assert_close(found, expected / expected.max())


def test_classifiers_count_alike_whatever_their_scale(image, weights):
    first, second = (weight.abs().sum(0) for weight in weights)
    expected = first / first.sum() + second / second.sum()
    found = Explainer(samples=2)([Linear(1000 * weights[0]), Linear(weights[1])], image, 1)
    torch.testing.assert_close(found, expected / expected.max())


def test_gradients_are_averaged_over_noisy_copies(image):
    """Of the sum of squares it is the image plus the mean of the noise, which many samples leave little of."""
    expected = image.abs().sum(0)
    torch.testing.assert_close(Explainer(1, noise=0.0)([Square()], image, 0), expected / expected.max())
    spread = 0.1 * float(image.max() - image.min())
    found = Explainer(400, noise=0.1)([Square()], image, 0)
    error = (found * expected.max() - expected).abs().max()
    assert 0 < error < 6 * spread / 20 * 2


def test_the_same_seed_the_same_noise(image):
    explain = Explainer(samples=2)
    before = torch.get_rng_state()
    first, other = (explain([Square()], image, 0, seed=seed) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(explain([Square()], image, 0, seed=1), first)
    assert not torch.equal(first, other)


def test_a_logit_that_does_not_depend_on_the_image(image):
    assert not Explainer(samples=1)([Linear(torch.zeros(SHAPE))], image, 1).any()


def test_what_cannot_be_explained(image):
    with pytest.raises(InputError, match="classifier 1 has gradients that are not finite"):
        Explainer(samples=1)([Square(), Linear(torch.full(SHAPE, torch.inf))], image, 0)
    with pytest.raises(InputError, match="samples must be at least 1, got 0"):
        Explainer(samples=0)
    with pytest.raises(InputError, match="noise must be at least 0, got -1"):
        Explainer(noise=-1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_on_cuda(image, weights):
    """Of linear classifiers, whose gradient no noise changes; and noise there leaves the caller's generator alone."""
    expected = Explainer(samples=2)([Linear(weight) for weight in weights], image, 1)
    before = torch.cuda.get_rng_state()
    found = Explainer(samples=2)([Linear(weight).cuda() for weight in weights], image.cuda(), 1)
    torch.testing.assert_close(found.cpu(), expected)
    assert torch.equal(torch.cuda.get_rng_state(), before)
