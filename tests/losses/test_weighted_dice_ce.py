import math

import pytest
import torch
from monai.losses import DiceLoss

from rankseg_med.losses import WeightedDiceCELoss

LOGITS = torch.tensor([0.8, 0.6, 0.3, 0.5]).logit()
TWO_CLASSES = torch.stack([torch.zeros(4), LOGITS])[None]  # softmax of class 1 is 0.8, 0.6, 0.3, 0.5
LABELS = torch.tensor([[[1, 0, 0, 255]]])


def test_one_image_by_hand():
    weights = torch.tensor([[[1.0, 0.5, 2.0, 0.0]]])
    # Class 0: probabilities 0.2, 0.4, 0.7 and target 0, 1, 1; class 1 the reverse; the last voxel does not count.
    dice_0 = 2 * (0.5 * 0.4 + 2 * 0.7) / ((0.2 + 0.5 * 0.4 + 2 * 0.7) + (0.5 + 2))
    dice_1 = 2 * (1 * 0.8) / ((0.8 + 0.5 * 0.6 + 2 * 0.3) + 1)
    cross_entropy = -(math.log(0.8) + 0.5 * math.log(0.4) + 2 * math.log(0.7)) / 3.5
    loss = WeightedDiceCELoss(smooth=1e-12)(TWO_CLASSES, LABELS, weights)
    assert float(loss) == pytest.approx((1 - (dice_0 + dice_1) / 2 + cross_entropy) / 2, abs=1e-6)


def test_equal_weights_give_the_usual_losses():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, 6)
    labels = torch.randint(0, 3, (2, 1, 4, 5, 6))
    weights = torch.full((2, 1, 4, 5, 6), 0.25)
    dice = DiceLoss(softmax=True, to_onehot_y=True, smooth_nr=0, smooth_dr=0)(logits, labels)
    cross_entropy = torch.nn.functional.cross_entropy(logits, labels[:, 0])
    loss = WeightedDiceCELoss(smooth=1e-9)(logits, labels, weights)
    assert float(loss) == pytest.approx(float(dice + cross_entropy) / 2, abs=1e-6)


def test_nothing_comes_from_voxels_without_weight():
    logits = TWO_CLASSES.clone().requires_grad_()
    loss = WeightedDiceCELoss()(logits, LABELS, torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]))
    loss.backward()
    assert torch.all(logits.grad[..., 2:] == 0)
    assert torch.all(logits.grad[..., :2] != 0)


def test_no_weight_at_all_is_no_loss():
    logits = TWO_CLASSES.clone().requires_grad_()
    loss = WeightedDiceCELoss()(logits, LABELS, torch.zeros(1, 1, 4))
    loss.backward()
    assert loss == 0
    assert torch.all(logits.grad == 0)


def test_smooth_must_be_positive():
    with pytest.raises(ValueError, match="smooth must be positive"):
        WeightedDiceCELoss(smooth=0)
