import numpy as np
import pytest
import torch

from rankseg_med.losses import TopKCELoss


@pytest.mark.parametrize(("percent", "hardest"), [(10.0, 6), (33.0, 19), (100.0, 60), (0.5, 1)])
def test_the_hardest_voxels_of_the_batch(percent, hardest):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5, 6), torch.randint(0, 3, (2, 1, 5, 6))
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    by_voxel = -np.log(np.take_along_axis(p, labels.numpy(), 1)).ravel()
    expected = np.sort(by_voxel)[::-1][:hardest].mean()
    assert float(TopKCELoss(percent)(logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_easy_voxels_have_no_gradient():
    logits = torch.tensor([[[3.0, 0.0, -3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]], requires_grad=True)
    TopKCELoss(50)(logits, torch.zeros(1, 1, 4)).backward()
    assert (logits.grad[0, 0] != 0).tolist() == [False, True, True, False]


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_a_share_of_none_or_more_than_all(percent):
    with pytest.raises(ValueError, match="percent must be above 0 and at most 100"):
        TopKCELoss(percent)
