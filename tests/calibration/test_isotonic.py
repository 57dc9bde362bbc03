import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from rankseg_med.calibration import BinnedVoxels, IsotonicCalibration, MonotoneMap, ReliabilityCounts, calibrated
from rankseg_med.networks import load_weights

SQUARE = MonotoneMap((0.0, 0.25, 0.5, 1.0), (0.0, 0.0625, 0.25, 0.9))


def volume(seed=0, classes=3, shape=(7, 6, 5)):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(classes, *shape, generator=generator)
    labels = torch.distributions.Categorical(logits=(logits / 3).movedim(0, -1)).sample()
    labels.view(-1)[:classes] = torch.arange(classes)
    return logits, labels


def fitted(classes=3, regions=None, weighting="cases", cases=3):
    calibration = IsotonicCalibration(classes, regions, weighting=weighting)
    calibration.fit(ReliabilityCounts.joined([calibration.observe(*volume(seed, classes)) for seed in range(cases)]))
    return calibration


@pytest.mark.parametrize("regions", [None, [[1, 2], [2]], [[1, 2]], [[2]]])
def test_a_fresh_one_changes_nothing(regions):
    logits, _ = volume()
    calibration, p = IsotonicCalibration(3, regions), logits.softmax(0)
    torch.testing.assert_close(calibration.probabilities(p), p, atol=5e-7, rtol=0)
    torch.testing.assert_close(calibration(logits[None]).softmax(1)[0], p, atol=1e-6, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, [[1, 2, 3], [2, 3], [3]], [[1, 2], [3]]]), st.booleans())
def test_in_the_simplex_nested_and_in_order(seed, regions, by_cases):
    calibration = fitted(4, regions, "cases" if by_cases else "voxels", cases=2)
    p = volume(seed, 4)[0].softmax(0)
    found = calibration.probabilities(p)
    assert found.dtype == torch.float32
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(0), torch.ones_like(found[0]), atol=1e-5, rtol=0)
    again = calibration.regions.probabilities(found)
    for inner, outer in ((1, 0), (2, 1)) if regions and len(regions) == 3 else ():
        assert (again[inner] <= again[outer] + 1e-5).all()


def test_each_class_by_its_own_map_where_they_fit_together():
    calibration = IsotonicCalibration(3)
    calibration.set_maps([SQUARE, MonotoneMap((0.0, 1.0), (0.0, 0.5))])
    p = torch.tensor([[0.2, 0.4, 0.4]]).T
    torch.testing.assert_close(calibration.probabilities(p)[:, 0], torch.tensor([0.625, 0.175, 0.2]))


def test_probabilities_that_were_fitted_to_add_up_to_the_volume():
    logits, labels = volume(shape=(20, 20, 20), classes=2)
    calibration = IsotonicCalibration(2)
    calibration.fit(calibration.observe(logits, labels))
    found = calibration.probabilities(logits.softmax(0))[1].double().sum()
    assert float(found) == pytest.approx(int((labels == 1).sum()), rel=2e-3)


def test_small_structures_are_heard_where_every_case_counts_the_same():
    # At 0.5, a large structure is there in 4 of 5 voxels, and ten small ones in 1 of 5.
    def case(size, share):
        p, y = torch.full((size,), 0.5), torch.zeros(size, dtype=torch.int64)
        y[: int(share * size)] = 1
        return ReliabilityCounts.of_case(BinnedVoxels.of_classes(torch.stack([1 - p, p]), y))

    counts = ReliabilityCounts.joined([case(10_000, 0.8), *[case(10, 0.2)] * 10])
    by_cases, by_voxels = IsotonicCalibration(2), IsotonicCalibration(2, weighting="voxels")
    by_cases.fit(counts)
    by_voxels.fit(counts)
    half = torch.full((2, 1), 0.5)
    # 11 of the weight 11 = 1 + 10 are positive, of 1 / 0.8 + 10 / 0.2 in all.
    assert float(by_cases.probabilities(half)[1]) == pytest.approx(11 / (1 / 0.8 + 10 / 0.2))
    assert float(by_voxels.probabilities(half)[1]) == pytest.approx(8020 / 10_100)


def test_independent_channels():
    logits = 3 * torch.randn(2, 6, 5, 4)
    calibration = IsotonicCalibration(2, independent=True)
    p = logits.sigmoid()
    assert torch.equal(calibration.probabilities(p), p)
    torch.testing.assert_close(calibration(logits[None])[0].sigmoid(), p)
    calibration.fit(ReliabilityCounts.of_case(BinnedVoxels.of_channels(p, p > 0.7)))
    found = calibration.probabilities(p)
    assert (found[p > 0.75] > 0.9).all()
    assert (found[p < 0.65] < 0.1).all()
    torch.testing.assert_close(calibration(logits[None])[0].sigmoid(), found, atol=1e-6, rtol=0)
    one = IsotonicCalibration(1, independent=True)
    assert torch.equal(one.probabilities(p[:1]), p[:1])


def test_a_layer_behind_a_network():
    network, calibration = torch.nn.Conv3d(1, 3, 3, padding=1), fitted()
    image = torch.randn(2, 1, 6, 6, 6)
    logits = calibrated(network, calibration)(image)
    assert logits.isfinite().all()
    for one, raw in zip(logits, network(image), strict=True):
        torch.testing.assert_close(one.softmax(0), calibration.probabilities(raw.softmax(0)), atol=1e-6, rtol=0)
    assert not list(calibration.parameters())


def test_logits_are_finite_where_probabilities_are_not_between():
    calibration = IsotonicCalibration(2)
    calibration.set_maps([MonotoneMap((0.0, 0.5, 0.6, 1.0), (0.0, 0.0, 1.0, 1.0))])
    assert calibration(torch.tensor([[[200.0, -200.0], [-200.0, 200.0]]])).isfinite().all()
    channels = IsotonicCalibration(2, independent=True)
    assert channels(torch.tensor([[[200.0, -200.0], [-200.0, 200.0]]])).isfinite().all()


def test_half_precision_and_views_in_blocks():
    calibration = fitted()
    p = volume(9, shape=(30, 20, 10))[0].softmax(0)
    turned = p.movedim(1, 3)
    torch.testing.assert_close(calibration.probabilities(turned), calibration.probabilities(p).movedim(1, 3))
    torch.testing.assert_close(calibration.probabilities(p.half()), calibration.probabilities(p.half().float()))
    assert calibration.probabilities(p[:, :0]).shape == (3, 0, 20, 10)
    assert not torch.equal(calibration.probabilities(p), p)


def test_nan_is_handed_on():
    p = volume()[0].softmax(0)
    p[:, 1, 2, 3] = torch.nan
    assert fitted().probabilities(p)[:, 1, 2, 3].isnan().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda():
    calibration, (logits, labels) = fitted(), volume(4)
    found = calibration.probabilities(logits.softmax(0).cuda())
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), calibration.probabilities(logits.softmax(0)), atol=1e-5, rtol=0)
    on_gpu = calibration.observe(logits.cuda(), labels.cuda())
    torch.testing.assert_close(on_gpu.every.positive.sum(1), calibration.observe(logits, labels).every.positive.sum(1))


class TestCheckpoints:
    def test_state_dictionaries(self, tmp_path):
        calibration = fitted()
        path = tmp_path / "calibration.safetensors"
        save_file(calibration.state_dict(), path)
        restored = IsotonicCalibration(3)
        load_weights(restored, path)
        assert restored.maps == calibration.maps
        assert restored.maps != IsotonicCalibration(3).maps
        assert copy.deepcopy(calibration).maps == calibration.maps

    def test_what_is_no_map_is_refused(self):
        state = fitted().state_dict()
        state["knots"][0, 1, 0] = 0.9
        with pytest.raises(ValueError, match="must never fall"):
            IsotonicCalibration(3).load_state_dict(state)


def test_a_region_that_no_case_has():
    logits, labels = volume()
    labels[labels == 2] = 1
    calibration = IsotonicCalibration(3)
    with pytest.raises(ValueError, match=r"no case has anything of region 1 \(counted from 0\)"):
        calibration.fit(calibration.observe(logits, labels))


def test_what_it_says_of_itself():
    calibration = IsotonicCalibration(3, [[1, 2], [2]])
    assert calibration.summary == {"calibrated_half_1": 0.5, "calibrated_half_2": 0.5}
    assert repr(calibration) == "IsotonicCalibration(regions [[1, 2], [2]], weighting=cases, knots=[2, 2])"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IsotonicCalibration(1), "num_classes must be at least 2, background included; got 1"),
        (lambda: IsotonicCalibration(0, independent=True), "at least 1, independent channels; got 0"),
        (lambda: IsotonicCalibration(3, [[1], [1, 2], [3]]), "a region is a set of foreground labels"),
        (lambda: IsotonicCalibration(3, [[1]], independent=True), "leave them out for independent channels"),
        (lambda: IsotonicCalibration(3, weighting="case"), "weighting must be cases or voxels, got 'case'"),
        (lambda: fitted().fit(fitted(2).observe(*volume(classes=2))), "is of 2 regions, got counts of 1"),
        (lambda: fitted().set_maps([SQUARE]), "needs 2 maps, one for each region, got 1"),
        (
            lambda: fitted().probabilities(torch.rand(4, 3, 3)),
            r"of 3 classes.* got \(4, 3, 3\)",
        ),
    ],
)
def test_what_cannot_be(make, message, wrong_types):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_label_map_is_no_probability_volume(wrong_types):
    with pytest.raises(TypeError, match="was a label map passed"):
        fitted().probabilities(torch.zeros(3, 4, 4, dtype=torch.uint8))
