"""Unions of classes, nested or disjoint: each decoded for its own metric, scored by its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.decode.regions import RegionChannels, Regions
from rankseg_med.errors import InputError
from tests.decode.decoders import independent
from tests.decode.oracles import score_of_every_mask, score_of_mask
from tests.decode.volumes import KINDS, SETTINGS, TOP, adversarial, slack_of, volume

METRICS = ("dice", "iou")
TUMOUR = [[1, 2], [2]]
KITS = [[1, 2, 3], [2, 3], [2]]


def region_levels(levels: np.ndarray, regions: list[list[int]]) -> np.ndarray:
    return np.stack([levels[region].sum(0) for region in regions])


def masks(labels: np.ndarray, regions: list[list[int]]) -> np.ndarray:
    return np.stack([np.isin(labels, region) for region in regions])


def scores(labels: np.ndarray, levels: np.ndarray, regions: list[list[int]], metrics, empty_score: float = 0.0):
    parts = zip(region_levels(levels, regions) / TOP, masks(labels, regions), metrics, strict=True)
    return np.array([score_of_mask(p, kept, metric, empty_score) for p, kept, metric in parts])


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([[1, 2], [2, 3]], r"nested or disjoint, got \[1, 2\] and \[2, 3\]"),
        ([[1, 2, 3], [1, 2], [3, 1]], r"nested or disjoint, got \[1, 2\] and \[3, 1\]"),
        ([[0, 1]], r"foreground labels from 1 to 3, got \[0, 1\]"),
        ([[1], [4]], r"foreground labels from 1 to 3, got \[4\]"),
        ([[-1]], r"foreground labels from 1 to 3, got \[-1\]"),
        ([[1], []], r"foreground labels from 1 to 3, got \[\]"),
        ([[2, 2]], r"foreground labels from 1 to 3, got \[2, 2\]"),
        ([], "at least one region is needed, got none"),
    ],
)
def test_what_is_no_set_of_regions_is_named(regions, message):
    with pytest.raises(ValueError, match=message):
        Regions.of(4, regions)
    with pytest.raises(ValueError, match=message):
        independent(regions=regions)(volume(adversarial("noise", 4, 5, 0, lowest=0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": ["dice"]}, r"metric must be one for all or one per region \(2\), got 1"),
        ({"min_peak": [0.5, 0.5, 0.5]}, r"min_peak must be one for all or one per region \(2\), got 3"),
        ({"assignment": "greedy"}, "the greedy rule is defined for plain classes with one metric"),
    ],
)
def test_what_does_not_fit_the_regions_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        independent(regions=TUMOUR, **options)(volume(adversarial("noise", 3, 5, 0, lowest=0)))


def test_greedy_with_a_metric_per_class_is_named():
    with pytest.raises(ValueError, match="the greedy rule is defined for plain classes with one metric"):
        independent(["dice", "iou"], assignment="greedy")(volume(adversarial("noise", 3, 5, 0, lowest=0)))


def test_membership_and_probabilities_are_those_of_the_labels():
    regions = Regions.of(4, KITS)
    assert not regions.are_classes
    expected = [[False, True, True, True], [False, False, True, True], [False, False, True, False]]
    assert regions.membership(torch.device("cpu")).tolist() == expected
    levels = adversarial("noise", 4, 50, 0, lowest=0)
    np.testing.assert_allclose(
        regions.probabilities(volume(levels)).numpy(), region_levels(levels, KITS) / TOP, rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("regions", [TUMOUR, KITS, [[2], [2, 3], [1, 2, 3]], [[1, 2], [3]], [[3], [1, 2]], [[1, 2, 3]]])
@settings(max_examples=12, **SETTINGS)
@given(
    kind=st.sampled_from(KINDS),
    voxels=st.integers(2, 80),
    seed=st.integers(0, 9999),
    metrics=st.lists(st.sampled_from(METRICS), min_size=3, max_size=3),
    empty_score=st.sampled_from([0.0, 1.0]),
    min_peak=st.sampled_from([0.0, 0.5]),
)
def test_mean_score_over_regions_is_never_below_argmax(regions, kind, voxels, seed, metrics, empty_score, min_peak):
    metrics = metrics[: len(regions)]
    levels = adversarial(kind, 1 + max(map(max, regions)), voxels, seed, lowest=1)
    decoder = independent(metrics, regions=regions, empty_score=empty_score, min_peak=min_peak)
    decoded = decoder.decode(volume(levels))
    labels, by_argmax = decoded.label_map.numpy(), levels.argmax(0)
    truth, of_argmax = (scores(map_, levels, regions, metrics, empty_score) for map_ in (labels, by_argmax))
    # Several labels of one voxel add up: the regions of certain background are rarely all alike.
    slack = slack_of(np.concatenate([levels[:1], region_levels(levels, regions)]))
    assert truth.mean() >= of_argmax.mean() - slack
    np.testing.assert_allclose([d.expected_score for d in decoded.decisions], truth, rtol=0, atol=slack)
    np.testing.assert_allclose([d.argmax_expected_score for d in decoded.decisions], of_argmax, rtol=0, atol=slack)
    kept = masks(labels, regions)
    for decision, region, metric, mask, p in zip(
        decoded.decisions, regions, metrics, kept, region_levels(levels, regions) / TOP, strict=True
    ):
        assert decision.labels == tuple(region)
        assert decision.metric == metric
        assert decision.voxels == mask.sum()
        assert decision.expected_volume == pytest.approx(p.sum(), rel=1e-9)
    for outer, outer_mask in zip(regions, kept, strict=True):
        for inner, inner_mask in zip(regions, kept, strict=True):
            if set(inner) <= set(outer):
                assert (inner_mask <= outer_mask).all()


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, **SETTINGS)
@given(kind=st.sampled_from(KINDS), voxels=st.integers(2, 8), seed=st.integers(0, 9999))
def test_one_region_of_several_labels_is_the_best_mask_of_all(metric, kind, voxels, seed):
    levels = adversarial(kind, 4, voxels, seed, lowest=1)
    decoded = independent(metric, min_peak=0, regions=[[1, 2, 3]]).decode(volume(levels))
    (foreground,) = region_levels(levels, [[1, 2, 3]]) / TOP
    every, expected = score_of_every_mask(foreground, metric)
    chosen = decoded.label_map.numpy() > 0
    assert expected[(every == chosen).all(1)].item() == pytest.approx(expected.max(), abs=1e-6)


@pytest.mark.parametrize("regions", [[[1, 2, 3]], [[1, 2, 3], [3]], [[1, 2], [3]]])
def test_of_labels_in_the_same_regions_the_more_probable_is_written(regions):
    levels = adversarial("noise", 4, 3000, 1, lowest=1)
    labels = independent(regions=regions)(volume(levels)).numpy()
    alike = [label for label in (1, 2, 3) if [label in region for region in regions] == [1 in r for r in regions]]
    among = np.isin(labels, alike)
    assert among.sum() > 100
    best = levels[alike].max(0)
    np.testing.assert_array_equal(np.take_along_axis(levels, labels[None].astype(int), 0)[0][among], best[among])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("assignment", ["ascent", "greedy"])
@pytest.mark.parametrize("kind", KINDS)
def test_regions_of_one_class_each_are_the_classes(metric, assignment, kind):
    probabilities = volume(adversarial(kind, 3, 200, 7, lowest=1))
    plain = independent(metric, assignment=assignment).decode(probabilities)
    regions = independent(metric, assignment=assignment, regions=[[1], [2]]).decode(probabilities)
    assert torch.equal(regions.label_map, plain.label_map)
    assert regions.decisions == plain.decisions


@pytest.mark.parametrize("metric", METRICS)
def test_disjoint_regions_are_the_classes_of_the_united_volume(metric):
    """[[1, 3], [2]] is the volume whose class 1 is the sum of 1 and 3, but for the label written."""
    levels = adversarial("noise", 4, 2000, 3, lowest=1)
    united = np.stack([levels[0], levels[1] + levels[3], levels[2]])
    ours = independent(metric, regions=[[1, 3], [2]]).decode(volume(levels))
    plain = independent(metric).decode(volume(united))
    np.testing.assert_array_equal(
        masks(ours.label_map.numpy(), [[1, 3], [2]]), masks(plain.label_map.numpy(), [[1], [2]])
    )
    for one, two in zip(ours.decisions, plain.decisions, strict=True):
        assert one.expected_score == pytest.approx(two.expected_score, abs=1e-9)
        assert one.expected_volume == pytest.approx(two.expected_volume, rel=1e-12)


def test_every_region_is_decoded_for_its_own_metric():
    """Far from each other and from being contested, so that each region gets its own optimum."""
    core = np.array([0.80, 0.60, 0.47, 0.43, 0.36, 0.32, 0.29, 0.15, 0.13])
    levels = np.zeros((3, 18), int)
    levels[1, :9] = levels[2, 9:] = TOP * core
    levels[0] = TOP - levels[1:].sum(0)
    volumes = {}
    for metrics in (["dice", "iou"], ["iou", "dice"], ["dice", "dice"]):
        decoded = independent(metrics).decode(volume(levels))
        assert [d.metric for d in decoded.decisions] == metrics
        for c, (metric, decision) in enumerate(zip(metrics, decoded.decisions, strict=True), start=1):
            p = levels[c] / TOP
            ranked = [score_of_mask(p, p >= t, metric) for t in np.unique(p)]
            assert decision.expected_score == pytest.approx(max(ranked), abs=1e-9)
            volumes.setdefault(metric, set()).add(decision.voxels)
    assert [len(found) for found in volumes.values()] == [1, 1]
    assert volumes["dice"] != volumes["iou"], "the volume must be one where the metric matters"


def test_min_peak_is_that_of_the_region():
    """A tumour of which the network was nowhere sure, in a kidney that it knows."""
    levels = np.zeros((3, 60), int)
    levels[1], levels[2] = 0.95 * TOP, 0.02 * TOP
    levels[:, 20:] = [[TOP - 2], [1], [1]]
    levels[1:, :6] = [[int(0.57 * TOP)], [int(0.42 * TOP)]]
    levels[0] = TOP - levels[1:].sum(0)
    probabilities = volume(levels)
    assert [d.voxels for d in independent(regions=TUMOUR).decode(probabilities).decisions] == [20, 0]
    assert [d.voxels for d in independent(regions=TUMOUR, min_peak=0.4).decode(probabilities).decisions] == [20, 6]
    for min_peak, expected in (([0.5, 0.4], 6), ([0.4, 0.5], 0), ([0.5, 0.42], 0)):
        decoded = independent(regions=TUMOUR, min_peak=min_peak).decode(probabilities)
        assert [d.voxels for d in decoded.decisions] == [20, expected]


@pytest.mark.parametrize("min_peak", [0.0, 1.0])
def test_a_class_in_no_region_is_background_everywhere(min_peak):
    """With min_peak 1 no threshold is better than argmax's map, which must be the same inside tiles and behind them."""
    levels = adversarial("noise", 4, 9000, 0, lowest=0)
    levels[:, 200:8400] = [[0], [0], [TOP], [0]]
    decoded = independent(regions=[[1], [3]], min_peak=min_peak).decode(volume(levels))
    assert set(decoded.label_map.unique().tolist()) <= {0, 1, 3}


@pytest.mark.parametrize(
    ("regions", "painted"),
    [
        ([[1, 2, 3], [2, 3], [3]], ((0, 1), (1, 2), (2, 3))),  # BraTS
        ([[1, 2, 3], [2, 3], [2]], ((0, 1), (1, 3), (2, 2))),  # KiTS
        ([[2], [1, 2]], ((1, 1), (0, 2))),  # the small one first
        ([[1], [2]], ((0, 1), (1, 2))),  # side by side
        ([[5]], ((0, 5),)),
    ],
)
def test_each_region_paints_the_label_that_is_its_own(regions, painted):
    assert RegionChannels.of(regions).painted == painted


@pytest.mark.parametrize(
    "regions", [[[1, 2, 3], [3]], [[1], [1]], [[0, 1], [1]], [[1, 256], [1]], [[]], [[1, 2], [1], [2]]]
)
def test_regions_whose_label_is_open(regions):
    with pytest.raises(InputError, match="every region must have exactly one label"):
        RegionChannels.of(regions)


def test_small_regions_cover_large_ones_also_outside_of_them():
    masks = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]], dtype=torch.uint8)
    assert RegionChannels.of([[1, 2], [2]]).label_map(masks).tolist() == [0, 2, 1, 2]
