"""Expected values: the challenges' public rules, applied by hand to a line of voxels."""

import math

import numpy as np
import pytest

from rankseg_med.metrics import Preset, Region, score_label_maps
from rankseg_med.metrics.presets import PRESETS, find_preset, label_fault


def line(*labels):
    return np.array(labels, dtype=np.uint8).reshape(-1, 1, 1)


def scores(name, prediction, reference):
    preset = find_preset(name)
    return {
        row.region.name: row.values
        for row in score_label_maps(prediction, reference, preset.regions, (1.0, 1.0, 1.0), preset.scoring)
    }


def test_an_unknown_preset_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"nnunet, kits19, .*brats2020, brats2023, brats-nnunet, bcp, got 'kits20'"):
        find_preset("kits20")


@pytest.mark.parametrize(
    ("challenge", "choices"), [("brats", ["brats2020", "brats2023", "brats-nnunet"]), ("kits", ["kits19", "kits23"])]
)
def test_a_challenge_without_a_year_is_asked_for_it(challenge, choices):
    with pytest.raises(ValueError, match=f"The preset {challenge} does not say what the labels mean") as raised:
        find_preset(challenge)
    assert [line.split(":")[0] for line in str(raised.value).split("\n- ")[1:]] == choices


def test_every_preset_is_listed_under_its_name():
    assert all(name == preset.name for name, preset in PRESETS.items())


def test_kits19_counts_the_tumour_as_kidney():
    found = scores("kits19", line(1, 1, 1, 0), line(1, 1, 2, 2))
    assert found == {"kidney": {"dice": pytest.approx(6 / 7)}, "tumour": {"dice": 0}}


def test_kits23_evaluates_nested_classes():
    found = scores("kits23", line(1, 2, 3, 0), line(1, 3, 3, 0))
    assert found["kidney_and_mass"] == {"dice": 1, "surface_dice": 1}
    assert found["mass"] == {"dice": 1, "surface_dice": 1}
    assert found["tumour"] == {"dice": 0, "surface_dice": 0}


def test_kits23_gives_1_where_both_are_empty():
    found = scores("kits23", line(1, 1), line(1, 1))
    assert found["tumour"] == found["mass"] == {"dice": 1, "surface_dice": 1}


def test_kits23_has_the_tolerances_of_the_challenge():
    assert [region.tolerance_mm for region in find_preset("kits23").regions] == [
        1.0330772532390826,
        1.1328796488598762,
        1.1498198361434828,
    ]


# Necrotic core, oedema and enhancing tumour, as each stores them.
BRATS = {"brats2020": (1, 2, 4), "brats2023": (1, 2, 3), "brats-nnunet": (2, 1, 3)}


@pytest.mark.parametrize("name", BRATS)
def test_brats_regions_nest_and_a_missed_one_scores_374_mm(name):
    core, oedema, enhancing = BRATS[name]
    found = scores(name, line(oedema, core, core, 0), line(oedema, core, enhancing, 0))
    assert found["whole_tumour"]["dice"] == 1
    assert found["tumour_core"]["dice"] == 1
    assert found["enhancing_tumour"] == {"dice": 0, "hd95_mm": 374, "sensitivity": 0, "precision": 0}


@pytest.mark.parametrize("name", BRATS)
def test_oedema_is_in_the_whole_tumour_alone(name):
    _, oedema, enhancing = BRATS[name]
    found = scores(name, line(oedema, enhancing, 0), line(enhancing, enhancing, 0))
    assert {region: values["dice"] for region, values in found.items()} == {
        "whole_tumour": 1,
        "tumour_core": pytest.approx(2 / 3),
        "enhancing_tumour": pytest.approx(2 / 3),
    }


@pytest.mark.parametrize(
    ("name", "labels", "parts"),
    [
        ("brats2023", [1, 2, 4], ["labels 1, 2, 4,", "brats2023 knows 1, 2, 3 alone", "of the preset brats2020"]),
        ("brats2020", [1, 3], ["labels 1, 3,", "knows 1, 2, 4 alone", "of the preset brats2023 or brats-nnunet"]),
        ("brats2020", [1, 2, 3, 4], ["labels 1, 2, 3, 4,", "give regions of your own"]),
        ("kits19", [1, 2, 3], ["above 0 as kidney and above 1 as tumour", "of the preset kits23"]),
        ("kits23", [4], ["labels 4,", "knows 1, 2, 3 alone", "give regions of your own"]),
    ],
)
def test_labels_that_a_preset_does_not_know(name, labels, parts):
    fault = label_fault(find_preset(name), labels)
    assert fault is not None
    assert [part for part in parts if part not in fault] == []


@pytest.mark.parametrize(("name", "labels"), [("brats2020", [1, 2, 4]), ("kits19", [1]), ("kits23", [])])
def test_labels_that_a_preset_knows(name, labels):
    assert label_fault(find_preset(name), labels) is None


def test_nnunet_leaves_out_what_neither_side_has():
    scoring = find_preset("nnunet").scoring
    policy = scoring.empty_policy
    both = policy.score("overlap", prediction_empty=True, reference_empty=True, image_diagonal_mm=9.0)
    one = policy.score("overlap", prediction_empty=False, reference_empty=True, image_diagonal_mm=9.0)
    assert math.isnan(both)
    assert one == 0


def test_bcp_scores_an_empty_prediction_0_in_everything():
    policy = find_preset("bcp").scoring.empty_policy
    for kind in ("overlap", "distance"):
        assert policy.score(kind, prediction_empty=True, reference_empty=False, image_diagonal_mm=9.0) == 0
    assert find_preset("bcp").unit_spacing


def test_rules_of_ones_own():
    own = find_preset("kits23").with_own((Region("kidney", (1,)),), ("dice", "hd_mm"))
    assert (own.regions, own.scoring.metrics, own.scoring.surface) == (
        (Region("kidney", (1,)),),
        ("dice", "hd_mm"),
        "surfels",
    )
    # Whoever says which labels are scored knows of the others.
    assert label_fault(own, [1, 4]) is None
    assert label_fault(find_preset("kits23").with_own(None, ("dice",)), [1, 4]) is not None


def test_bcp_measures_voxels_and_keeps_volumes():
    bcp = find_preset("bcp").with_own((Region("atrium", (1,)),), None)
    (row,) = bcp.score(line(1, 1, 1, 0), line(1, 0, 0, 0), (5.0, 2.0, 3.0)).regions
    # From the ends of three voxels to the first: 0, 1 and 2 voxels.
    assert row.values["asd_prediction_to_reference_mm"] == 1
    # Of 0, 1 and 2 rank 1.9 of 0 to 2; of these and the 0 of the way back rank 2.85 of 0 to 3.
    assert row.values["hd95_mm"] == pytest.approx(1.9)
    assert row.values["hd95_pooled_mm"] == pytest.approx(1.85)
    assert (row.prediction_volume_ml, row.reference_volume_ml) == pytest.approx((0.09, 0.03))


def test_names_of_regions_differ():
    with pytest.raises(ValueError, match=r"must differ, got \['a', 'a'\]"):
        Preset(regions=(Region("a", (1,)), Region("a", (2,))))
