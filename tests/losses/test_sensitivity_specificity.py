import pytest
import torch

from rankseg_med.losses import SensitivitySpecificityLoss

LOGITS = torch.stack([torch.zeros(4), torch.tensor([0.8, 0.6, 0.3, 0.5]).logit()])[None]


def test_one_image_by_hand():
    sensitivity = 0.2**2
    specificity = (0.6**2 + 0.3**2 + 0.5**2) / 3
    loss = SensitivitySpecificityLoss(0.1)(LOGITS, torch.tensor([[[1, 0, 0, 0]]]))
    assert float(loss) == pytest.approx(0.1 * sensitivity + 0.9 * specificity)


def test_terms_of_no_voxels_are_0():
    absent = SensitivitySpecificityLoss(0.1)(LOGITS, torch.zeros(1, 1, 4))
    everywhere = SensitivitySpecificityLoss(0.1)(LOGITS, torch.ones(1, 1, 4))
    assert float(absent) == pytest.approx(0.9 * (0.8**2 + 0.6**2 + 0.3**2 + 0.5**2) / 4)
    assert float(everywhere) == pytest.approx(0.1 * (0.2**2 + 0.4**2 + 0.7**2 + 0.5**2) / 4)


def test_foreground_classes_and_images_count_alike():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 1, 4, 5))
    one_by_one = []
    for image in range(2):
        for c in (1, 2):
            p = logits[image].softmax(0)[c].flatten()
            both = torch.stack([(1 - p).logit(), p.logit()])[None] / 2
            one_by_one.append(float(SensitivitySpecificityLoss()(both, (labels[image] == c).flatten()[None, None])))
    assert float(SensitivitySpecificityLoss()(logits, labels)) == pytest.approx(sum(one_by_one) / 4)


def test_the_ratio_is_one():
    with pytest.raises(ValueError, match=r"sensitivity_ratio must lie in \[0, 1\], got 2"):
        SensitivitySpecificityLoss(2)
