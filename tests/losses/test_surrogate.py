"""The surrogate loss: truth tables, exactness on one-hot predictions, gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, list_data_collate
from scipy.spatial import distance
from torch.nn import functional as F

from rankseg_med.errors import InputError
from rankseg_med.losses import SegmentationMetric, SurrogateLoss

METRICS = ("gAcc", "mAcc", "mIoU", "FWIoU", "BIoU", "BF1", "Dice")


def drawn(metric, seed, **options):
    """Parameters of every operation, at random."""
    start, rng = SurrogateLoss(metric, **options), np.random.default_rng(seed)
    return {name: rng.uniform(0.05, 0.95, len(values)).tolist() for name, values in start.parameters_of.items()}


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("curve", ["bezier", "linear"])
@pytest.mark.parametrize("metric", METRICS)
def test_truth_tables(metric, curve, seed):
    loss = SurrogateLoss(metric, drawn(metric, seed, curve=curve), curve=curve)
    a, b = torch.tensor([0, 0, 1, 1]).double(), torch.tensor([0, 1, 0, 1]).double()
    for name in loss.metric.operations:
        wanted = [0, 1, 1, 1] if name.endswith("or") else [0, 0, 0, 1]
        assert loss._operation(name, a)(a, b).tolist() == pytest.approx(wanted, abs=1e-9)


def test_operations_are_products_of_curves():
    """One parameter pair is g(1/2) = 1/4 + 2/4 v, by hand; each operation has a curve of its own."""
    loss = SurrogateLoss("mIoU", {"and": [0.5, 0.1], "or": [0.5, 0.7]}, segments=1)
    half = torch.full((1,), 0.5).double()
    assert float(loss._operation("and", half)(half, half)) == pytest.approx(0.3**2)
    assert float(loss._operation("or", half)(half, half)) == pytest.approx(0.6 + 0.6 - 0.36)


@pytest.mark.parametrize("shape", [(2, 8, 9), (2, 6, 5, 4)])
@pytest.mark.parametrize("metric", METRICS)
def test_of_one_hot_predictions_it_is_the_metric(metric, shape):
    """The exact metrics themselves are compared with other libraries in test_segmentation_metrics."""
    truth, prediction = torch.randint(3, (2, *shape), generator=torch.Generator().manual_seed(1))
    certain = 200 * F.one_hot(prediction, 3).movedim(-1, 1).double()
    exact = SegmentationMetric(metric, tolerance_voxels=1)
    counts = exact.counts(F.one_hot(prediction, 3).movedim(-1, 1).double(), F.one_hot(truth, 3).movedim(-1, 1).double())
    expected = 1 - float(exact.value(counts))
    assert 0 < expected < 1
    for parameters in (None, drawn(metric, 0)):  # curves change nothing at 0 and 1
        loss = SurrogateLoss(metric, parameters, tolerance_voxels=1)
        assert float(loss(certain, truth[:, None])) == pytest.approx(expected)


def test_against_scipy():
    truth, prediction = torch.randint(3, (2, 2, 7, 6), generator=torch.Generator().manual_seed(2))
    certain = 200.0 * F.one_hot(prediction, 3).movedim(-1, 1)
    pairs = [((truth == label).ravel().numpy(), (prediction == label).ravel().numpy()) for label in range(3)]
    found = float(SurrogateLoss("mIoU")(certain, truth[:, None]))
    assert found == pytest.approx(np.mean([distance.jaccard(*pair) for pair in pairs]))
    found = float(SurrogateLoss("Dice", include_background=False)(certain, truth[:, None]))
    assert found == pytest.approx(np.mean([distance.dice(*pair) for pair in pairs[1:]]))


@pytest.mark.parametrize("options", [{}, {"curve": "linear"}, {"truth_table": False}, {"monotone": False}])
@pytest.mark.parametrize("metric", METRICS)
def test_gradients_are_finite_differences(metric, options):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 2, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 1, 0, 0, 1, 0, 0, 0]).reshape(1, 1, 3, 3)
    loss = SurrogateLoss(metric, drawn(metric, 4, **options), tolerance_voxels=0, **options)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits)


@pytest.mark.parametrize("metric", METRICS)
def test_descending_finds_the_label(metric):
    labels = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    labels[..., 3:, 2:6] = 1
    logits = torch.zeros(1, 2, 8, 8).normal_(generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss, optimizer = SurrogateLoss(metric, drawn(metric, 1), tolerance_voxels=1), torch.optim.Adam([logits], 0.5)
    first = loss(logits, labels).item()
    for _ in range(25):
        optimizer.zero_grad()
        loss(logits, labels).backward()
        optimizer.step()
    assert loss(logits, labels).item() < 0.25 * first


def test_a_batch_that_says_nothing_costs_nothing():
    logits = torch.randn(1, 2, 4, 4).requires_grad_()
    loss = SurrogateLoss("BF1")(logits, torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_half_precision_is_worked_out_in_single():
    logits, labels = torch.randn(1, 2, 4, 4), torch.randint(2, (1, 1, 4, 4))
    loss = SurrogateLoss("Dice")(logits.bfloat16(), labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, SurrogateLoss("Dice")(logits.bfloat16().float(), labels))


def test_batches_with_metadata():
    logits, labels = torch.randn(2, 2, 4, 4).requires_grad_(), torch.randint(2, (2, 1, 4, 4))
    batch = list_data_collate([MetaTensor(one, meta={"name": str(one.sum())}) for one in labels])
    loss = SurrogateLoss("Dice")(MetaTensor(logits), batch)
    loss.backward()
    torch.testing.assert_close(loss, SurrogateLoss("Dice")(logits, labels))


def test_what_makes_no_loss():
    with pytest.raises(InputError, match="must be of the operations of gAcc, and, got or"):
        SurrogateLoss("gAcc", {"or": [0.5] * 6})
    with pytest.raises(InputError, match="parameters of 'and' must be 6 numbers from 0 to 1"):
        SurrogateLoss("gAcc", {"and": [0.5] * 5})
