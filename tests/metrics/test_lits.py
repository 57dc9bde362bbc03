"""Expected values: the published definitions and the official script, followed by hand on a line of voxels."""

import math

import numpy as np
import pytest

from rankseg_med.metrics import find_preset, score_label_maps, surface_distances

SPACING_MM = (2.0, 1.0, 1.0)
LITS = find_preset("lits")
MODES = {False: LITS, True: LITS.as_official()}


def line(text):
    return np.array([int(character) for character in text], dtype=np.uint8).reshape(-1, 1, 1)


def score(prediction, reference, strict=False):
    return MODES[strict].score(line(prediction), line(reference), SPACING_MM)


def results_of(*cases, strict=False):
    return MODES[strict].summarise(cases).values


@pytest.mark.parametrize(("strict", "rvd"), [(False, 1 / 3), (True, -1 / 4)])
def test_liver(strict, rvd):
    # Four voxels against three, of which one end lies 2 mm outside: every voxel of a line is surface.
    liver = score("01121", "01120", strict).liver
    assert liver["dice"] == pytest.approx(6 / 7)
    assert liver["voe"] == pytest.approx(1 / 4)
    assert liver["rvd"] == pytest.approx(rvd)
    assert liver["assd_mm"] == pytest.approx(2 / 7)
    assert liver["rmsd_mm"] == pytest.approx(math.sqrt(4 / 7))
    assert liver["mssd_mm"] == pytest.approx(2)


@pytest.mark.parametrize("strict", [False, True])
def test_perfect_lesions_are_all_detected(strict):
    case = score("1221221", "1221221", strict)
    assert case.detections == {0.0: (2, 2, 2), 0.5: (2, 2, 2)}
    results = results_of(case, strict=strict)
    assert results["lesion_precision"] == results["lesion_recall"] == results["lesion_dice_per_case"] == 1
    assert results["lesion_voe"] == results["lesion_assd_mm"] == results["tumour_burden_rmse"] == 0


def test_a_false_positive_that_comes_first_drops_a_detection_of_the_script():
    # Numbers 1, 2, 3 against 1, 2: the union of the first reference takes in the lesion that was renumbered 2.
    assert score("2112211221", "1112211221", strict=True).detections[0.5] == (3, 2, 1)
    assert score("2112211221", "1112211221").detections[0.5] == (3, 2, 2)


def test_a_prediction_over_two_references_counts_once():
    # IoU of the prediction with both together 4/5, with either alone 2/5.
    assert score("1222221", "1221221", strict=True).detections == {0.0: (1, 2, 1), 0.5: (1, 2, 1)}
    assert score("1222221", "1221221").detections == {0.0: (1, 2, 1), 0.5: (1, 2, 0)}


def test_a_failed_merged_pair_is_taken_off_twice_by_the_script():
    # Both references lie under one prediction of 10 voxels: IoU 2/10, counted as 1, taken off as 2.
    assert score("222222222211", "121121111111", strict=True).detections[0.5] == (1, 2, -1)


def test_lesions_are_6_connected():
    reference = np.ones((2, 2, 1), dtype=np.uint8)
    reference[0, 0, 0] = reference[1, 1, 0] = 2
    assert LITS.score(reference, reference, SPACING_MM).detections[0.0] == (2, 2, 2)


def test_a_reference_without_tumour():
    with pytest.raises(ValueError, match=r"1 to 255 reference lesions.*got 0.*corrected"):
        score("1121", "1111", strict=True)
    case = score("1121", "1111")
    assert case.detections[0.5] == (1, 0, 0)
    assert case.regions[1].values["dice"] == 0
    results = results_of(case)
    assert results["lesion_precision"] == 0
    assert math.isnan(results["lesion_recall"])
    assert math.isnan(results["lesion_voe"])
    assert score("1111", "1111").regions[1].values["dice"] == 1


def test_no_liver_predicted():
    strict = results_of(score("0022", "1122", strict=True), strict=True)
    assert (strict["liver_dice_per_case"], strict["liver_dice_global"], strict["liver_voe"]) == (0, 0, 1)
    assert strict["liver_assd_mm"] == strict["liver_rvd"] == 9001
    assert strict["tumour_burden_max"] == pytest.approx(0.5 - 9001)
    tumour_only = results_of(score("0022", "1122"))
    assert tumour_only["liver_dice_per_case"] == pytest.approx(4 / 6)
    assert tumour_only["tumour_burden_max"] == pytest.approx(0.5)
    nothing = results_of(score("0000", "1122"))
    assert (nothing["liver_dice_per_case"], nothing["liver_voe"], nothing["liver_rvd"]) == (0, 1, -1)
    assert nothing["liver_mssd_mm"] == 6  # from the first to the last of four voxels, 2 mm apart
    assert nothing["tumour_burden_rmse"] == 1


def test_a_reference_without_liver_is_refused():
    with pytest.raises(ValueError, match="need a liver"):
        score("1111", "0000")


@pytest.mark.parametrize("strict", [False, True])
def test_a_data_set(strict):
    # Tumour burdens 1/4 against 2/4, and 2/4 against 2/4; Dice of lesions 2/3 and 1.
    cases = [score("1112", "1122", strict), score("1122", "1122", strict)]
    results = results_of(*cases, strict=strict)
    assert results["lesion_dice_per_case"] == pytest.approx(5 / 6)
    assert results["lesion_dice_global"] == pytest.approx(2 * 3 / 7)
    assert results["tumour_burden_rmse"] == pytest.approx(math.sqrt((1 / 16) / 2))
    assert results["tumour_burden_max"] == pytest.approx(0.25)
    # The first lesion has an IoU of exactly 1/2, which is not more.
    assert results["lesion_recall"] == results["lesion_precision"] == 1 / 2
    assert results["lesion_recall_greater_zero"] == results["lesion_precision_greater_zero"] == 1


def test_the_largest_tumour_burden_is_signed_in_the_script():
    assert results_of(score("1222", "1122", strict=True), strict=True)["tumour_burden_max"] == -0.25
    assert results_of(score("1222", "1122"))["tumour_burden_max"] == 0.25


def test_no_lesion_detected():
    cases = {strict: [score("2111111", "1111122", strict)] for strict in (False, True)}
    assert math.isnan(results_of(*cases[False])["lesion_voe"])
    strict = results_of(*cases[True], strict=True)
    assert (strict["lesion_voe"], strict["lesion_rmsd_mm"]) == (1, 9001)


@pytest.mark.parametrize("strict", [False, True])
def test_surfaces_are_measured_once(strict, monkeypatch):
    measured = []

    def counting(prediction, reference, *options):
        measured.append((np.count_nonzero(prediction), np.count_nonzero(reference)))
        return surface_distances(prediction, reference, *options)

    monkeypatch.setattr("rankseg_med.metrics.catalogue.surface_distances", counting)
    case = score("12210221", "12210222", strict)
    assert len(case.lesions) == 2
    # The liver, all lesions together, and each of two detected.
    assert measured == [(7, 7), (4, 5), (2, 2), (2, 3)]


def test_scores_of_the_regions_are_the_presets():
    prediction, reference = line("11200"), line("11220")
    for preset in MODES.values():
        rows = preset.score(prediction, reference, SPACING_MM).regions
        assert list(rows) == score_label_maps(prediction, reference, LITS.regions, SPACING_MM, LITS.scoring)


def test_no_case():
    assert not results_of()
