import numpy as np
import pytest
from hypothesis import given

from rankseg_med.metrics import (
    METRICS,
    Scoring,
    catalogue,
    dice,
    find_metric,
    jaccard,
    precision,
    relative_volume_difference,
    score_masks,
    sensitivity,
    surface_distances,
)
from tests.metrics.shapes import SETTINGS, SPACING_MM, box, masks, noisy_balls

BALLS = noisy_balls((18, 15, 12))


@pytest.mark.parametrize("surface", ["voxels", "voxels18", "surfels"])
@SETTINGS
@given(pair=masks(2))
def test_every_metric_has_its_name(surface, pair):
    spacing_mm = SPACING_MM[: pair[0].ndim]
    distances = surface_distances(*pair, spacing_mm, surface)
    assert score_masks(*pair, spacing_mm, Scoring(surface=surface), tolerance_mm=2.0) == {
        "dice": dice(*pair),
        "jaccard": jaccard(*pair),
        "sensitivity": sensitivity(*pair),
        "precision": precision(*pair),
        "surface_dice": distances.surface_dice(2.0),
        "hd_mm": distances.hausdorff_mm(),
        "hd95_mm": distances.hausdorff_percentile_mm(95.0),
        "asd_prediction_to_reference_mm": distances.asd_prediction_to_reference_mm(),
        "asd_reference_to_prediction_mm": distances.asd_reference_to_prediction_mm(),
        "assd_mm": distances.assd_mm(),
        "rmsd_mm": distances.rmsd_mm(),
        "relative_volume_difference": relative_volume_difference(*pair),
    }


def test_hausdorff_distance_at_any_percentile():
    distances = surface_distances(*BALLS, SPACING_MM)
    scores = score_masks(*BALLS, SPACING_MM, Scoring(("hd50_mm", "hd99.5_mm")))
    assert scores == {
        "hd50_mm": distances.hausdorff_percentile_mm(50.0),
        "hd99.5_mm": distances.hausdorff_percentile_mm(99.5),
    }


def test_lesions():
    # Found: a cube of 27 voxels shifted by one, 18 voxels in common, so IoU 1/2 and Dice 2/3. Missed: a cube of 8.
    # Invented: one voxel.
    prediction = box((10, 10, 10), (1, 4), (1, 4), (2, 5)) | box((10, 10, 10), (9, 10), (9, 10), (9, 10))
    reference = box((10, 10, 10), (1, 4), (1, 4), (1, 4)) | box((10, 10, 10), (6, 8), (6, 8), (6, 8))
    scores = score_masks(prediction, reference, SPACING_MM, Scoring(tuple(catalogue.LESION_METRICS)))
    expected = {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "dice": 2 / 9}
    for name, value in expected.items():
        assert scores[f"lesion_{name}"] == pytest.approx(value)
        assert scores[f"lesion_{name}_iou50"] == 0  # an IoU of exactly 1/2 is not more
    assert (scores["panoptic_quality"], scores["panoptic_quality_iou50"]) == (1 / 4, 0)
    # The same cube without its corner: IoU 26/27.
    shrunk = reference.copy()
    shrunk[1, 1, 1] = False
    scores = score_masks(shrunk, reference, SPACING_MM, Scoring(("lesion_f1_iou50", "panoptic_quality_iou50")))
    assert scores == {"lesion_f1_iou50": 1, "panoptic_quality_iou50": pytest.approx((1 + 26 / 27) / 2)}


def test_a_case_without_the_lesions_of_a_side_scores_by_the_policy():
    nothing, lesion = box((4, 4, 4)) & False, box((4, 4, 4), (1, 2), (1, 2), (1, 2))
    scoring = Scoring(("lesion_precision", "lesion_recall", "panoptic_quality"))
    for pair in ((nothing, lesion), (lesion, nothing)):
        assert set(score_masks(*pair, SPACING_MM, scoring).values()) == {0}
    assert all(np.isnan(list(score_masks(nothing, nothing, SPACING_MM, scoring).values())))


def test_distances_are_measured_once_and_only_if_needed(monkeypatch):
    measured = []

    def counted(*arguments):
        measured.append(arguments)
        return surface_distances(*arguments)

    monkeypatch.setattr(catalogue, "surface_distances", counted)
    score_masks(*BALLS, SPACING_MM, Scoring(("dice", "precision", "relative_volume_difference")))
    assert not measured
    score_masks(*BALLS, SPACING_MM)
    assert len(measured) == 1


class TestRejections:
    @pytest.mark.parametrize("name", ["hd101_mm", "hd95", "HD95_mm", "accuracy"])
    def test_metric(self, name):
        with pytest.raises(ValueError, match=f"dice, .*hd99_mm.*got '{name}'"):
            Scoring(("dice", name))

    @pytest.mark.parametrize("metrics", [(), ("dice", "dice")])
    def test_metrics(self, metrics):
        with pytest.raises(ValueError, match="at least one metric, and each once"):
            Scoring(metrics)

    @pytest.mark.usefixtures("wrong_types")
    def test_surface(self):
        with pytest.raises(ValueError, match=r"voxels, voxels18, surfels.*'mesh'"):
            Scoring(surface="mesh")

    @pytest.mark.parametrize("empty", [False, True])
    def test_masks_spacing_and_tolerance_even_where_a_mask_is_empty(self, empty):
        mask, other = np.ones((3, 3), dtype=bool), np.full((3, 3), not empty)
        with pytest.raises(TypeError, match=r"(?i)bool"):
            score_masks(mask, other.astype(np.uint8), (1.0, 1.0))
        with pytest.raises(ValueError, match="spacing_mm"):
            score_masks(mask, other, SPACING_MM)
        with pytest.raises(ValueError, match="tolerance_mm"):
            score_masks(mask, other, (1.0, 1.0), tolerance_mm=-1.0)


def test_defaults_are_all_metrics():
    assert Scoring().metrics == tuple(METRICS)


@pytest.mark.parametrize(
    ("name", "unit", "higher_is_better", "shown"),
    [
        ("dice", "", True, "+0.1235"),
        ("surface_dice", "", True, "+0.1235"),
        ("panoptic_quality_iou50", "", True, "+0.1235"),
        ("hd95_mm", "mm", False, "+0.12"),
        ("hd99.5_mm", "mm", False, "+0.12"),
        ("assd_mm", "mm", False, "+0.12"),
        ("relative_volume_difference", "", None, "+0.1235"),
    ],
)
def test_a_metric_carries_its_unit_and_direction(name, unit, higher_is_better, shown):
    metric = find_metric(name)
    assert (metric.unit, metric.higher_is_better) == (unit, higher_is_better)
    assert metric.shown(0.12349, "+") == shown
    assert metric.shown(float("nan")) == "-"


@pytest.mark.parametrize("name", [*METRICS, *catalogue.LESION_METRICS])
def test_names_of_columns_tell_the_unit(name):
    assert name.endswith("_mm") == (find_metric(name).unit == "mm")


def test_headings_differ():
    headings = [metric.heading for metric in (*METRICS.values(), *catalogue.LESION_METRICS.values())]
    assert len(set(headings)) == len(headings)
    assert find_metric("hd99.5_mm").heading == "HD99.5"
