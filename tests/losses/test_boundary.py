import pytest
import torch

from rankseg_med.losses import BoundaryLoss


def test_by_hand():
    """Three classes, two voxels; the background does not count."""
    logits = torch.tensor([[0.5, 0.2], [0.3, 0.7], [0.2, 0.1]]).log()[None]
    distances_mm = torch.tensor([[[9.0, 9.0], [1.5, -2.0], [4.0, 3.0]]])
    expected = (0.3 * 1.5 - 0.7 * 2.0 + 0.2 * 4.0 + 0.1 * 3.0) / 4
    assert float(BoundaryLoss()(logits, torch.zeros(1, 1, 2), distances_mm)) == pytest.approx(expected)


def test_a_class_without_a_boundary_has_no_loss_and_no_gradient_of_its_own():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = BoundaryLoss()(logits, torch.zeros(1, 1, 3, 3), torch.zeros(1, 2, 3, 3))
    loss.backward()
    assert loss == 0
    assert torch.all(logits.grad == 0)
