import math

import pytest
import torch

from rankseg_med.losses import WeightedCrossEntropyLoss

LOGITS = torch.tensor([0.8, 0.6, 0.3, 0.5]).logit()
TWO_CLASSES = torch.stack([torch.zeros(4), LOGITS])[None]  # softmax of class 1 is 0.8, 0.6, 0.3, 0.5
LABELS = torch.tensor([[[1, 0, 0, 255]]])


def test_by_hand():
    """Of the labels' probabilities 0.8, 0.4 and 0.7; the last voxel does not count, whatever its label."""
    weights = torch.tensor([[[1.0, 0.5, 2.0, 0.0]]])
    expected = -(math.log(0.8) + 0.5 * math.log(0.4) + 2 * math.log(0.7)) / 3.5
    assert float(WeightedCrossEntropyLoss()(TWO_CLASSES, LABELS, weights)) == pytest.approx(expected, abs=1e-6)


def test_equal_weights_give_the_usual_loss():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 5, 6), torch.randint(0, 3, (2, 1, 4, 5, 6))
    loss = WeightedCrossEntropyLoss()(logits, labels, torch.full((2, 1, 4, 5, 6), 0.25))
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels[:, 0])), abs=1e-6)


def test_no_weight_at_all_is_no_loss():
    logits = TWO_CLASSES.clone().requires_grad_()
    loss = WeightedCrossEntropyLoss()(logits, LABELS, torch.zeros(1, 1, 4))
    loss.backward()
    assert loss == 0
    assert torch.all(logits.grad == 0)
