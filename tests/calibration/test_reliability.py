import numpy as np
import pytest
import torch
from monai.metrics import CalibrationErrorMetric
from monai.metrics.calibration import calibration_binning

from rankseg_med.calibration import BinnedVoxels, ReliabilityCounts, reliability


def volume(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(3, 12, 11, 10, generator=generator)
    labels = torch.distributions.Categorical(logits=(logits / 2).movedim(0, -1)).sample()
    return logits.softmax(0), labels


@pytest.mark.parametrize("bins", [4, 16, 64])
@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_diagram_and_ece_are_those_of_monai(bins, scale):
    p, labels = volume(0, scale)
    found = reliability(BinnedVoxels.of_classes(p, labels), bins=bins)
    truth = torch.nn.functional.one_hot(labels, 3).movedim(-1, 0).float()
    metric = CalibrationErrorMetric(num_bins=bins, include_background=False, metric_reduction="none")
    metric(p[None], truth[None])
    torch.testing.assert_close(found.ece.float(), metric.aggregate()[0], atol=1e-5, rtol=0)
    mean, frequency, count = calibration_binning(p[None, 1:], truth[None, 1:], num_bins=bins)
    torch.testing.assert_close(found.count.float(), count[0])
    torch.testing.assert_close(found.mean_probability.float(), mean[0], equal_nan=True, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.frequency.float(), frequency[0], equal_nan=True, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_scores_are_those_of_all_voxels(scale):
    cases = [volume(seed, scale) for seed in range(3)]
    counts = ReliabilityCounts.joined([ReliabilityCounts.of_case(BinnedVoxels.of_classes(*case)) for case in cases])
    found = reliability(counts.every)
    for row, label in enumerate((1, 2)):
        p = np.concatenate([case[0][label].flatten().numpy() for case in cases]).astype(float)
        y = np.concatenate([case[1].flatten().numpy() == label for case in cases]).astype(float)
        assert float(found.brier[row]) == pytest.approx(((p - y) ** 2).mean(), rel=2e-3)
        nll = -np.log(np.maximum(np.where(y, p, 1 - p), 2.0**-30)).mean()
        assert float(found.nll[row]) == pytest.approx(nll, rel=2e-3)
        assert float(found.volume_ratio[row]) == pytest.approx(p.sum() / y.sum(), rel=1e-6)


def test_weighted_by_cases_the_volume_ratio_is_the_mean_over_cases():
    cases = [volume(seed, 2.0) for seed in range(3)]
    counts = ReliabilityCounts.joined([ReliabilityCounts.of_case(BinnedVoxels.of_classes(*case)) for case in cases])
    ratios = [float(p[1].double().sum() / (labels == 1).sum()) for p, labels in cases]
    found = reliability(counts.weighted("cases"))
    assert float(found.volume_ratio[0]) == pytest.approx(np.mean(ratios), rel=1e-6)


def test_by_hand():
    p = torch.tensor([0.0, 0.25, 0.25, 0.75, 1.0])
    found = reliability(BinnedVoxels.of_classes(torch.stack([1 - p, p]), torch.tensor([0, 0, 1, 1, 1])), bins=4)
    assert found.count.tolist() == [[1, 2, 0, 2]]
    assert found.frequency[0, [0, 1, 3]].tolist() == [0, 0.5, 1]
    assert found.mean_probability[0, [0, 1, 3]].tolist() == [0, 0.25, 0.875]
    assert found.frequency[0, 2].isnan()
    assert float(found.ece) == pytest.approx((2 * 0.25 + 2 * 0.125) / 5)
    assert float(found.brier) == pytest.approx((0.25**2 + 0.75**2 + 0.25**2) / 5)
    assert float(found.nll) == pytest.approx(-2 * np.log(0.75) / 5 - np.log(0.25) / 5)
    assert float(found.volume_ratio) == pytest.approx(2.25 / 3)


def test_certain_and_wrong_is_finite():
    found = reliability(BinnedVoxels.of_classes(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 0])))
    assert float(found.nll) == pytest.approx(30 * np.log(2))


def test_what_cannot_be_told(wrong_types):
    with pytest.raises(ValueError, match="a power of two from 1 to 64, got 15"):
        reliability(BinnedVoxels.empty(2), bins=15)
    with pytest.raises(ValueError, match="there are no voxels"):
        reliability(BinnedVoxels.empty(2))
