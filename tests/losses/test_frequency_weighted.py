import math

import pytest
import torch
from torch.nn import functional as F

from rankseg_med.losses import FrequencyWeightedCELoss

LOGITS = torch.stack([torch.zeros(4), torch.tensor([0.8, 0.6, 0.3, 0.5]).logit()])[None]
LABELS = torch.tensor([[[1, 0, 0, 0]]])


def test_classes_count_alike():
    background = -(math.log(0.4) + math.log(0.7) + math.log(0.5)) / 3
    assert float(FrequencyWeightedCELoss()(LOGITS, LABELS)) == pytest.approx((background - math.log(0.8)) / 2)


def test_a_power_in_between_by_hand():
    of_background = 1 / math.sqrt(3)
    total = -math.log(0.8) - of_background * (math.log(0.4) + math.log(0.7) + math.log(0.5))
    loss = FrequencyWeightedCELoss(power=0.5)(LOGITS, LABELS)
    assert float(loss) == pytest.approx(total / (1 + 3 * of_background))


def test_the_power_0_is_cross_entropy():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 4, 4), torch.randint(0, 3, (2, 1, 4, 4, 4))
    expected = F.cross_entropy(logits, labels[:, 0])
    assert float(FrequencyWeightedCELoss(power=0)(logits, labels)) == pytest.approx(float(expected), rel=1e-6)


def test_a_class_that_the_batch_lacks_has_no_part():
    wider = torch.cat([LOGITS, torch.full((1, 1, 4), -100.0)], 1)
    assert float(FrequencyWeightedCELoss()(wider, LABELS)) == pytest.approx(
        float(FrequencyWeightedCELoss()(LOGITS, LABELS))
    )


def test_a_negative_power_is_refused():
    with pytest.raises(ValueError, match="power must be at least 0, got -1"):
        FrequencyWeightedCELoss(power=-1)
