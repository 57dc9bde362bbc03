import pytest
import torch
from torch.nn import functional as F

from rankseg_med.losses import IoUBalancedCELoss

# Two images of one foreground class; probabilities of it.
P = torch.tensor([[0.8, 0.6, 0.1], [0.3, 0.2, 0.4]], dtype=torch.float64)
LABELS = torch.tensor([[[1, 1, 0]], [[1, 0, 0]]])


def logits():
    return torch.stack([torch.zeros_like(P), P.logit()], 1).requires_grad_()


def gradient_of_foreground(loss) -> torch.Tensor:
    """Of the logits of class 1; of one voxel's cross-entropy it is p - g."""
    values = logits()
    loss(values, LABELS).backward()
    return values.grad[:, 1]


@pytest.mark.parametrize("eta", [0.5, 1.5])
def test_the_value_is_that_of_cross_entropy(eta):
    expected = F.cross_entropy(logits(), LABELS[:, 0]).detach()
    assert float(IoUBalancedCELoss(eta)(logits(), LABELS).detach()) == pytest.approx(float(expected), rel=1e-12)


def test_gradients_go_to_structures_that_are_found_well_by_hand():
    iou = torch.tensor([(0.8 + 0.6) / (2 + 0.1), 0.3 / (1 + 0.2 + 0.4)], dtype=torch.float64)
    ce = [-P[0, 0].log() - P[0, 1].log(), -P[1, 0].log()]
    powers = iou**1.5
    weights = powers * (ce[0] + ce[1]) / (powers[0] * ce[0] + powers[1] * ce[1])
    assert weights[0] > 1 > weights[1]
    factors = torch.stack([weights[0], weights[0], torch.ones(()), weights[1], torch.ones(()), torch.ones(())])
    expected = factors.reshape(2, 3) * (P - LABELS[:, 0]) / 6
    torch.testing.assert_close(gradient_of_foreground(IoUBalancedCELoss()), expected)


def test_eta_0_is_cross_entropy():
    expected = gradient_of_foreground(lambda x, y: F.cross_entropy(x, y[:, 0]))
    torch.testing.assert_close(gradient_of_foreground(IoUBalancedCELoss(0.0)), expected)


@pytest.mark.parametrize("first_image", [[0, 0, 0], [1, 0, 1]])
def test_one_structure_or_none_has_nothing_to_share_out(first_image):
    labels = torch.tensor([[first_image], [[0, 0, 0]]])
    values, plain = logits(), logits()
    IoUBalancedCELoss()(values, labels).backward()
    F.cross_entropy(plain, labels[:, 0]).backward()
    torch.testing.assert_close(values.grad, plain.grad)


def test_structures_that_are_not_found_at_all_keep_their_loss():
    hopeless = torch.stack([torch.full((2, 3), 200.0), torch.full((2, 3), -200.0)], 1).requires_grad_()
    loss = IoUBalancedCELoss()(hopeless, LABELS)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(400 * 3 / 6)
    assert (hopeless.grad[:, 1].abs() > 0.1).tolist() == [[True, True, False], [True, False, False]]


def test_a_negative_eta_is_refused():
    with pytest.raises(ValueError, match="eta must be at least 0, got -1"):
        IoUBalancedCELoss(-1)


@pytest.mark.parametrize("margin", [10.0, 17.0, 25.0])
def test_a_structure_without_any_loss_gets_no_large_gradients(margin):
    """Whose cross-entropy is 0 in single precision, beside one that is missed: a voxel gets no more than all losses.

    Its weight times its cross-entropy is at most their sum, and its gradient at most that, since 1 - p <= -log p.
    """
    values = torch.zeros(1, 3, 8)
    values[:, 1, :4] = margin
    values[:, 0, 4:] = 20.0
    values.requires_grad_()
    loss = IoUBalancedCELoss()(values, torch.tensor([[[1, 1, 1, 1, 2, 2, 2, 2]]]))
    loss.backward()
    assert values.grad.abs().max() <= loss
