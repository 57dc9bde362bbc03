import math

import pytest
import torch
from ignite.engine import Engine, Events

from rankseg_med.losses import (
    BoundaryLoss,
    CombinedLoss,
    FrequencyWeightedCELoss,
    LinearRamp,
    WeightedCrossEntropyLoss,
    beside_labels,
)


class Constant(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, logits, labels):
        return logits.mean() * 0 + self.value


LOGITS, LABELS = torch.zeros(1, 2, 3), torch.zeros(1, 1, 3)


def test_a_ramp_by_hand():
    ramp = LinearRamp(1.0, 0.0, 4)
    assert [ramp.at(iteration) for iteration in (1, 2, 4, 5, 6, 1000)] == [1.0, 0.75, 0.25, 0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0; a constant weight is a number"):
        LinearRamp(0.0, 1.0, 0)


def test_a_weighted_sum():
    loss = CombinedLoss({"a": Constant(2.0), "b": Constant(5.0)}, {"a": 0.5, "b": 3.0})
    assert float(loss(LOGITS, LABELS)) == 16
    assert loss.scalars == {"loss/a": 2.0, "loss/b": 5.0}
    assert beside_labels(loss) == ()


def test_weights_follow_the_trainer():
    loss = CombinedLoss({"a": Constant(1.0), "b": Constant(1.0)}, {"a": 1.0, "b": LinearRamp(0.0, 10.0, 2)})
    with pytest.raises(RuntimeError, match=r"the weight of b must follow a trainer.*call attach\(trainer\) first"):
        loss(LOGITS, LABELS)
    trainer = Engine(lambda engine, batch: float(loss(LOGITS, LABELS)))
    loss.attach(trainer)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output))
    trainer.run(range(2), max_epochs=2)
    assert seen == [1, 6, 11, 11]
    assert loss.scalars["loss_weight/b"] == 10


def test_distances_go_to_those_that_need_them():
    distances_mm = torch.tensor([[[0.0, 0.0, 0.0], [-2.0, 4.0, 10.0]]])
    loss = CombinedLoss({"ce": FrequencyWeightedCELoss(), "far": BoundaryLoss()}, {"ce": 0.0, "far": 1.0})
    assert beside_labels(loss) == ("distances_mm",)
    assert float(loss(LOGITS, LABELS, distances_mm)) == pytest.approx(0.5 * 4)
    with pytest.raises(ValueError, match="must be given, after logits and labels, distances_mm; got 0 tensors"):
        loss(LOGITS, LABELS)


def test_everyone_is_given_what_it_takes():
    """Of two equal logits cross-entropy is log 2 in the voxel that counts; half of the distances' mean is 2."""
    distances_mm = torch.tensor([[[0.0, 0.0, 0.0], [-2.0, 4.0, 10.0]]])
    losses = {"a": WeightedCrossEntropyLoss(), "b": BoundaryLoss(), "c": Constant(1.0), "d": WeightedCrossEntropyLoss()}
    loss = CombinedLoss(losses, dict.fromkeys(losses, 1.0))
    assert beside_labels(loss) == ("weight", "distances_mm")
    expected = 2 * math.log(2) + 0.5 * 4 + 1
    assert float(loss(LOGITS, LABELS, torch.tensor([[[0.0, 3.0, 0.0]]]), distances_mm)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="weight, distances_mm; got 1 tensors"):
        loss(LOGITS, LABELS, distances_mm)


@pytest.mark.parametrize("weights", [{}, {"b": 1.0}, {"a": 1.0, "b": 1.0}])
def test_every_loss_has_a_weight(weights):
    with pytest.raises(ValueError, match="losses and weights must have the same names"):
        CombinedLoss({"a": Constant(1.0)}, weights)
    with pytest.raises(ValueError, match="at least one, got none and none"):
        CombinedLoss({}, {})


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0])
def test_weights_that_cannot_be(weight):
    with pytest.raises(ValueError, match="the weight of a must be a finite number of at least 0"):
        CombinedLoss({"a": Constant(1.0)}, {"a": weight})
    with pytest.raises(ValueError, match="start and end must be finite numbers of at least 0"):
        LinearRamp(0.0, weight, 3)


def test_sums_within_sums_follow_the_trainer():
    ramp = CombinedLoss({"a": Constant(1.0)}, {"a": LinearRamp(0.0, 10.0, 2)})
    loss = CombinedLoss({"sum": ramp, "b": Constant(1.0)}, {"sum": 2.0, "b": 1.0})
    trainer = Engine(lambda engine, batch: float(loss(LOGITS, LABELS)))
    loss.attach(trainer)
    assert trainer.run(range(2)).output == 2 * 5 + 1


@pytest.mark.parametrize("name", ["half", "type", "values", "a.b", ""])
def test_any_name_will_do(name):
    loss = CombinedLoss({name: Constant(2.0)}, {name: 3.0})
    assert float(loss(LOGITS, LABELS)) == 6
    assert loss.scalars == {f"loss/{name}": 2.0}


def test_terms_move_with_the_sum():
    weighted = torch.nn.BCEWithLogitsLoss(weight=torch.ones(1))
    CombinedLoss({"a": weighted}, {"a": 1.0}).to(torch.float64)
    assert weighted.weight.dtype == torch.float64


def test_what_all_terms_ignore_is_ignored():
    a, b, c = (Constant(1.0) for _ in "abc")
    a.ignore_index = b.ignore_index = 255
    assert CombinedLoss({"a": a, "b": b}, {"a": 1.0, "b": 1.0}).ignore_index == 255
    assert CombinedLoss({"a": a, "c": c}, {"a": 1.0, "c": 1.0}).ignore_index is None
