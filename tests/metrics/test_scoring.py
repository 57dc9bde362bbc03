import numpy as np
import pytest
from hypothesis import given

from rankseg_med.metrics import (
    METRICS,
    Scoring,
    catalogue,
    dice,
    jaccard,
    precision,
    relative_volume_difference,
    score_masks,
    sensitivity,
    surface_distances,
)
from tests.metrics.shapes import SETTINGS, SPACING_MM, masks, noisy_balls

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
