import pytest
import torch
from monai.losses import DiceCELoss

from rankseg_med.semisupervised import IgnoringDiceCELoss


def test_as_if_the_ignored_voxels_were_not_there():
    """Against MONAI's loss on what is left when they are cut off."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 6, 4, generator=generator)
    labels = torch.randint(3, (2, 1, 6, 4), generator=generator)
    ignored = labels.clone()
    ignored[:, :, 4:] = 9
    monai = DiceCELoss(softmax=True, to_onehot_y=True, lambda_dice=0.5, lambda_ce=0.5, smooth_nr=1e-5, smooth_dr=1e-5)
    expected = monai(logits[:, :, :4], labels[:, :, :4].float())
    assert float(IgnoringDiceCELoss(9)(logits, ignored)) == pytest.approx(float(expected), abs=1e-6)


def test_nothing_to_learn_from():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = IgnoringDiceCELoss()(logits, torch.full((1, 1, 3, 3), 255))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert not logits.grad.any()
