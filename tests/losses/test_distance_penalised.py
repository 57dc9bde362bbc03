import math

import pytest
import torch
from torch.nn import functional as F

from rankseg_med.losses import DistancePenalisedCELoss

# On a line, 2 mm apart: two voxels of class 1, then four of the background.
LABELS = torch.tensor([[[1, 1, 0, 0, 0, 0]]])
INSIDE_1, INSIDE_0 = torch.tensor([4.0, 2.0, -2.0, -4.0, -6.0, -8.0]), torch.tensor([-4.0, -2.0, 2.0, 4.0, 6.0, 8.0])
DISTANCES_MM = -torch.stack([INSIDE_0, INSIDE_1])[None]


def test_voxels_at_the_boundary_count_twice_by_hand():
    p = torch.tensor([0.8, 0.6, 0.3, 0.5, 0.4, 0.2])
    logits = torch.stack([torch.zeros(6), p.logit()])[None]
    counts = [1, 2, 2, 1 + 2 / 3, 1 + 1 / 3, 1]
    terms = [math.log(0.8), math.log(0.6), math.log(0.7), math.log(0.5), math.log(0.6), math.log(0.8)]
    expected = -sum(count * term for count, term in zip(counts, terms, strict=True)) / 6
    assert float(DistancePenalisedCELoss()(logits, LABELS, DISTANCES_MM)) == pytest.approx(expected)


def test_one_voxel_thick_is_all_boundary_and_no_boundary_is_cross_entropy():
    logits = torch.randn(1, 2, 2)
    thin = torch.tensor([[[-3.0, 3.0], [3.0, -3.0]]])
    plain = float(F.cross_entropy(logits, torch.tensor([[0, 1]])))
    assert float(DistancePenalisedCELoss()(logits, torch.tensor([[[0, 1]]]), thin)) == pytest.approx(2 * plain)
    alone = float(F.cross_entropy(logits, torch.tensor([[1, 1]])))
    nothing = DistancePenalisedCELoss()(logits, torch.tensor([[[1, 1]]]), torch.zeros(1, 2, 2))
    assert float(nothing) == pytest.approx(alone)
