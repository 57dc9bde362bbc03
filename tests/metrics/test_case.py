import math

import numpy as np
import pytest

from rankseg_med.metrics import METRICS, EmptyPolicy, dice, jaccard, score_label_maps, surface_distances

SPACING_MM = (1.0, 2.0, 5.0)
LABELS = {1: "liver", 2: "tumour"}
OVERLAPS = [metric for metric in METRICS if not metric.endswith("_mm")]
DISTANCES = [metric for metric in METRICS if metric.endswith("_mm")]


def label_map(*voxels):
    volume = np.zeros((4, 5, 3), dtype=np.uint8)
    for index, value in voxels:
        volume[index] = value
    return volume


def values(scores, metrics):
    return [getattr(scores, metric) for metric in metrics]


def test_one_voxel_each_by_hand():
    # Liver: 2 predicted voxels, 1 of them right, the other 2 mm off. A voxel is 10 mm3 = 0.01 ml.
    prediction = label_map(((0, 0, 0), 1), ((0, 1, 0), 1))
    reference = label_map(((0, 0, 0), 1))
    (liver,) = score_label_maps(prediction, reference, {1: "liver"}, SPACING_MM)
    assert (liver.label, liver.name) == (1, "liver")
    assert liver.dice == pytest.approx(2 / 3)
    assert liver.jaccard == pytest.approx(1 / 2)
    assert liver.hd_mm == pytest.approx(2.0)
    assert liver.hd95_mm == pytest.approx(0.95 * 2.0)
    assert liver.asd_prediction_to_reference_mm == pytest.approx(1.0)
    assert liver.asd_reference_to_prediction_mm == 0
    assert liver.prediction_volume_ml == pytest.approx(0.02)
    assert liver.reference_volume_ml == pytest.approx(0.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_every_class_is_scored_as_its_own_mask(dtype):
    prediction, reference = np.random.default_rng(0).integers(0, 4, (2, 6, 7, 5)).astype(dtype)
    scores = score_label_maps(prediction, reference, {3: "three", 1: "one"}, SPACING_MM)
    assert [row.label for row in scores] == [3, 1]
    for row in scores:
        masks = prediction == row.label, reference == row.label
        distances = surface_distances(*masks, SPACING_MM)
        assert values(row, METRICS) == [
            dice(*masks),
            jaccard(*masks),
            distances.hausdorff_mm(),
            distances.hausdorff_percentile_mm(95.0),
            distances.asd_prediction_to_reference_mm(),
            distances.asd_reference_to_prediction_mm(),
        ]


def test_structure_in_neither_map_is_undefined():
    same = label_map(((1, 1, 1), 1))
    _, tumour = score_label_maps(same, same, LABELS, SPACING_MM)
    assert all(math.isnan(value) for value in values(tumour, METRICS))
    assert tumour.prediction_volume_ml == tumour.reference_volume_ml == 0


@pytest.mark.parametrize("missed", [True, False], ids=["missed", "invented"])
def test_structure_in_one_map_only_scores_worst(missed):
    maps = [label_map(((0, 0, 0), 2)), label_map()]
    (tumour,) = score_label_maps(*(maps[::-1] if missed else maps), {2: "tumour"}, SPACING_MM)
    assert values(tumour, OVERLAPS) == [0, 0]
    # The grid has 4, 5 and 3 voxels: 3 * 1, 4 * 2 and 2 * 5 mm from corner to corner.
    assert values(tumour, DISTANCES) == pytest.approx([math.sqrt(9 + 64 + 100)] * 4)


def test_no_pair_of_voxels_is_farther_apart_than_a_missed_structure():
    corners = label_map(((0, 0, 0), 1)), label_map(((3, 4, 2), 1))
    (farthest,) = score_label_maps(*corners, {1: "liver"}, SPACING_MM)
    (missed,) = score_label_maps(label_map(), corners[1], {1: "liver"}, SPACING_MM)
    assert farthest.hd_mm == pytest.approx(missed.hd_mm)


def test_policy_of_the_caller():
    policy = EmptyPolicy(both_empty_overlap=1.0, one_empty_distance_mm=200.0)
    liver, tumour = score_label_maps(label_map(), label_map(((0, 0, 0), 1)), LABELS, SPACING_MM, policy)
    assert (liver.dice, liver.hd95_mm) == (0, 200)
    assert tumour.dice == tumour.jaccard == 1
    assert math.isnan(tumour.hd95_mm)


def test_two_dimensions():
    prediction = np.array([[1, 1], [0, 0]])
    reference = np.array([[1, 0], [0, 0]])
    (scores,) = score_label_maps(prediction, reference, {1: "liver"}, (1.0, 3.0))
    assert scores.hd_mm == pytest.approx(3.0)


def test_rejections():
    empty = label_map()
    with pytest.raises(ValueError, match=r"\(4, 5, 3\).*\(4, 5, 2\)"):
        score_label_maps(empty, empty[..., :2], LABELS, SPACING_MM)
    with pytest.raises(ValueError, match="spacing_mm"):
        score_label_maps(empty, empty, LABELS, SPACING_MM[:2])
    with pytest.raises(ValueError, match="0 is background"):
        score_label_maps(empty, empty, {0: "background", 1: "liver"}, SPACING_MM)
    with pytest.raises(ValueError, match="at least one class"):
        score_label_maps(empty, empty, {}, SPACING_MM)
    with pytest.raises(TypeError, match=r"(?i)int"):
        score_label_maps(empty.astype(float), empty, LABELS, SPACING_MM)
