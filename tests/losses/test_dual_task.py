import math

import pytest
import torch
from ignite.engine import Engine
from monai.losses import DiceCELoss

from rankseg_med.losses import BoundaryLoss, CombinedLoss, DualTaskLoss, LinearRamp, beside_labels, label_boundary


class Nothing(torch.nn.Module):
    def forward(self, logits, labels):
        return 0 * logits.sum()


def test_both_sides_of_a_boundary_border_on_it():
    labels = torch.zeros(1, 1, 6, 6)
    labels[..., 2:5, 3:] = 2
    boundary = label_boundary(labels)[0, 0]
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[1:6, 2:6] = True
    expected[3, 4:] = False  # inside; what lies beyond the image is no other class
    assert torch.equal(boundary, expected)
    assert not label_boundary(torch.ones(1, 1, 4, 4, 4)).any()


def test_the_terms_by_hand():
    """A row of four pixels: the middle two border on each other."""
    labels = torch.tensor([[[[0, 0, 1, 1]]]])
    edges = torch.tensor([0.9, 0.6, 0.85, 0.2]).logit()[None, None, None]
    p_of_1 = torch.tensor([0.4, 0.3, 0.8, 0.6])
    logits = torch.stack([torch.zeros(4), p_of_1.logit()])[None, :, None]
    of_edges = -0.5 * (math.log(0.1) + math.log(0.6) + math.log(0.85) + math.log(0.8)) / 4
    at_edges = -(math.log(0.6) + math.log(0.8)) / 2  # the first and the third pixel
    output = [logits, edges]
    assert float(DualTaskLoss(Nothing(), 1.0, 0.0)(output, labels)) == pytest.approx(of_edges, rel=1e-5)
    assert float(DualTaskLoss(Nothing(), 0.0, 1.0)(output, labels)) == pytest.approx(at_edges, rel=1e-5)
    assert float(DualTaskLoss(Nothing(), 2.0, 0.5)(output, labels)) == pytest.approx(2 * of_edges + 0.5 * at_edges)


def test_rare_edges_weigh_as_much_as_all_else():
    """Without knowledge (1/2 everywhere) both sides of the sum are equal: 2 β (1 - β) log 2 in all."""
    labels = torch.zeros(1, 1, 10, 10, 10)
    labels[..., 9] = 1
    share = 0.2
    loss = DualTaskLoss(Nothing(), 1.0, 1.0)([torch.zeros(1, 2, 10, 10, 10), torch.zeros(1, 1, 10, 10, 10)], labels)
    assert float(loss) == pytest.approx(2 * share * (1 - share) * math.log(2), rel=1e-5)


def test_the_loss_of_the_classes_is_added():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 5, 6), torch.randint(0, 3, (2, 1, 4, 5, 6))
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    total = DualTaskLoss(loss, 0.0, 0.0)([logits, torch.zeros(2, 1, 4, 5, 6)], labels)
    torch.testing.assert_close(total, loss(logits, labels))


def test_logits_alone_are_refused():
    with pytest.raises(ValueError, match="logits and edges, got logits alone; for GatedSCNN set edges_in_training"):
        DualTaskLoss(Nothing())(torch.zeros(2, 2, 4, 4), torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize("wrong", [{"edge_weight": -1.0}, {"attention_weight": -0.5}, {"threshold": 1.0}])
def test_weights_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 0 and threshold in"):
        DualTaskLoss(Nothing(), **wrong)


def test_the_loss_of_the_classes_may_be_a_sum_that_needs_distances_and_follows_the_trainer():
    torch.manual_seed(0)
    logits, labels, distances_mm = torch.randn(1, 2, 4, 4), torch.randint(0, 2, (1, 1, 4, 4)), torch.randn(1, 2, 4, 4)
    terms = {"dice_ce": DiceCELoss(softmax=True, to_onehot_y=True), "boundary": BoundaryLoss()}
    loss = DualTaskLoss(CombinedLoss(terms, {"dice_ce": 1.0, "boundary": LinearRamp(0.0, 2.0, 2)}), 0.0, 0.0)
    assert beside_labels(loss) == ("distances_mm",)
    assert beside_labels(DualTaskLoss(terms["dice_ce"])) == ()
    trainer = Engine(lambda engine, batch: None)
    loss.attach(trainer)
    trainer.state.iteration = 2
    expected = terms["dice_ce"](logits, labels) + 1.0 * terms["boundary"](logits, labels, distances_mm)
    torch.testing.assert_close(loss([logits, torch.zeros(1, 1, 4, 4)], labels, distances_mm), expected)
    assert loss.scalars["loss_weight/boundary"] == 1.0
    assert DualTaskLoss(terms["dice_ce"]).scalars == {}
