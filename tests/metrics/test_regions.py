import math

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from medpy.metric import binary as medpy
from scipy import ndimage
from surface_distance import compute_surface_dice_at_tolerance, compute_surface_distances

from rankseg_med.metrics import (
    METRICS,
    EmptyPolicy,
    Region,
    Scoring,
    VoxelCounts,
    label_regions,
    score_label_maps,
    score_masks,
)
from tests.metrics.shapes import SETTINGS

SPACING_MM = (1.0, 2.0, 5.0)
LIVER, TUMOUR = label_regions({1: "liver", 2: "tumour"})
ORGAN = Region("organ", (1, 2), tolerance_mm=2.5)

label_map_pairs = array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.integers(0, 3))] * 2)
)


def label_map(*voxels):
    volume = np.zeros((4, 5, 3), dtype=np.uint8)
    for index, value in voxels:
        volume[index] = value
    return volume


def test_one_voxel_each_by_hand():
    # 2 predicted voxels, 1 of them right, the other 2 mm off. A voxel is 10 mm3 = 0.01 ml.
    prediction = label_map(((0, 0, 0), 1), ((0, 1, 0), 1))
    reference = label_map(((0, 0, 0), 1))
    (liver,) = score_label_maps(prediction, reference, [LIVER], SPACING_MM)
    assert liver.region == LIVER
    assert liver.values == pytest.approx(
        {
            "dice": 2 / 3,
            "jaccard": 1 / 2,
            "sensitivity": 1,
            "precision": 1 / 2,
            "surface_dice": 2 / 3,
            "hd_mm": 2.0,
            "hd95_mm": 0.95 * 2.0,
            "asd_prediction_to_reference_mm": 1.0,
            "asd_reference_to_prediction_mm": 0,
            "assd_mm": 2 / 3,
            "rmsd_mm": math.sqrt(4 / 3),
            "relative_volume_difference": 1,
        }
    )
    assert liver.prediction_volume_ml == pytest.approx(0.02)
    assert liver.reference_volume_ml == pytest.approx(0.01)
    # Of 4 * 5 * 3 voxels, however few of them are looked at.
    assert liver.voxels == VoxelCounts(true_positives=1, false_positives=1, false_negatives=0, true_negatives=58)


@SETTINGS
@given(label_map_pairs, st.sampled_from([np.uint8, np.int16, np.int64]), st.sampled_from("CF"))
def test_every_region_is_scored_as_its_own_mask_whatever_the_memory_layout(pair, dtype, order):
    prediction, reference = (np.array(labels, dtype=dtype, order=order) for labels in pair)
    spacing_mm = SPACING_MM[: prediction.ndim]
    scores = score_label_maps(prediction, reference, [TUMOUR, ORGAN, LIVER], spacing_mm)
    assert [row.region for row in scores] == [TUMOUR, ORGAN, LIVER]
    for row in scores:
        predicted, expected = (np.isin(labels, row.region.labels) for labels in pair)
        whole = score_masks(predicted, expected, spacing_mm, tolerance_mm=row.region.tolerance_mm)
        assert row.values == pytest.approx(whole, nan_ok=True)
        assert row.prediction_volume_ml == pytest.approx(predicted.sum() * math.prod(spacing_mm) / 1000)
        assert row.reference_volume_ml == pytest.approx(expected.sum() * math.prod(spacing_mm) / 1000)


def test_structure_in_neither_map_is_undefined():
    same = label_map(((1, 1, 1), 1))
    for maps in ((same, same), (label_map(), label_map())):
        *_, tumour = score_label_maps(*maps, [LIVER, TUMOUR], SPACING_MM)
        assert all(math.isnan(value) for value in tumour.values.values())
        assert tumour.prediction_volume_ml == tumour.reference_volume_ml == 0


@pytest.mark.parametrize("missed", [True, False], ids=["missed", "invented"])
def test_structure_in_one_map_only_scores_the_diagonal_of_the_image_not_of_the_box(missed):
    maps = [label_map(((0, 0, 0), 2)), label_map()]
    (tumour,) = score_label_maps(*(maps[::-1] if missed else maps), [TUMOUR], SPACING_MM)
    assert tumour.values["dice"] == tumour.values["surface_dice"] == 0
    # The grid has 4, 5 and 3 voxels: 3 * 1, 4 * 2 and 2 * 5 mm from corner to corner.
    assert tumour.values["hd95_mm"] == tumour.values["assd_mm"] == pytest.approx(math.sqrt(9 + 64 + 100))


def test_scoring_and_policy_of_the_caller():
    scoring = Scoring(("hd99_mm", "dice"), empty_policy=EmptyPolicy.named("brats"))
    liver, tumour = score_label_maps(label_map(), label_map(((0, 0, 0), 1)), [LIVER, TUMOUR], SPACING_MM, scoring)
    assert liver.values == {"hd99_mm": 374, "dice": 0}
    assert tumour.values == {"hd99_mm": 0, "dice": 1}


def test_two_dimensions():
    prediction = np.array([[1, 1], [0, 0]])
    reference = np.array([[1, 0], [0, 0]])
    (scores,) = score_label_maps(prediction, reference, [LIVER], (1.0, 3.0))
    assert scores.values["hd_mm"] == pytest.approx(3.0)


def test_rejections():
    empty = label_map()
    with pytest.raises(ValueError, match=r"\(4, 5, 3\).*\(4, 5, 2\)"):
        score_label_maps(empty, empty[..., :2], [LIVER], SPACING_MM)
    with pytest.raises(ValueError, match="spacing_mm"):
        score_label_maps(empty, empty, [LIVER], SPACING_MM[:2])
    with pytest.raises(ValueError, match="at least one region"):
        score_label_maps(empty, empty, [], SPACING_MM)
    with pytest.raises(ValueError, match=r"names must differ.*'liver', 'liver'"):
        score_label_maps(empty, empty, [LIVER, Region("liver", (2,))], SPACING_MM)


@pytest.mark.usefixtures("wrong_types")
def test_rejects_what_is_not_a_label_map():
    empty = label_map()
    for wrong in (float, bool):
        with pytest.raises(TypeError, match=r"label map of integers"):
            score_label_maps(empty.astype(wrong), empty, [LIVER], SPACING_MM)


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore:Please (use|import):DeprecationWarning")  # surface-distance of SciPy
@pytest.mark.parametrize("change", ["shifted", "eroded"])
def test_nested_regions_of_kits(shared_data, change):
    image = nib.load(shared_data / "kits19_labels" / "case_00174.nii.gz")
    reference = np.asanyarray(image.dataobj)  # Fortran order, as NIfTI has it
    spacing_mm = [float(step) for step in image.header.get_zooms()]
    if change == "shifted":
        prediction = np.roll(reference, (1, 2, -3), axis=(0, 1, 2))
    else:
        prediction = np.where(ndimage.binary_erosion(reference > 0), reference, 0).astype(np.uint8)
    regions = [Region("kidney and mass", (1, 2), 1.0330772532390826), Region("tumour", (2,), 1.1498198361434828)]

    scores = score_label_maps(prediction, reference, regions, spacing_mm, Scoring(surface="surfels"))

    for row in scores:
        pair = [np.isin(labels, row.region.labels) for labels in (prediction, reference)]
        assert row.values["dice"] == pytest.approx(medpy.dc(*pair))
        assert row.values["jaccard"] == pytest.approx(medpy.jc(*pair))
        assert row.values["sensitivity"] == pytest.approx(medpy.sensitivity(*pair))
        assert row.values["precision"] == pytest.approx(medpy.precision(*pair))
        assert row.values["relative_volume_difference"] == pytest.approx(medpy.ravd(*pair))
        theirs = compute_surface_distances(*pair[::-1], spacing_mm)
        expected = compute_surface_dice_at_tolerance(theirs, row.region.tolerance_mm)
        assert row.values["surface_dice"] == pytest.approx(expected, rel=1e-9)
    assert scores[0].values.keys() == METRICS.keys()


def test_mask_is_the_union_of_the_labels():
    label_map = np.array([[0, 1, 2], [3, 2, 0]], dtype=np.uint8)
    np.testing.assert_array_equal(Region("mass", (2, 3)).mask(label_map), [[False, False, True], [True, True, False]])
    assert not Region("cyst", (9,)).mask(label_map).any()


def test_one_region_for_each_label():
    assert label_regions({2: "tumour", 1: "liver"}) == (Region("tumour", (2,)), Region("liver", (1,)))


@pytest.mark.parametrize("labels", [(), (0,), (-1,), (1, 1)])
def test_labels_of_a_region(labels):
    with pytest.raises(ValueError, match=r"'liver'.*positive value"):
        Region("liver", labels)


def test_name_of_a_region():
    with pytest.raises(ValueError, match="name"):
        Region("", (1,))


@pytest.mark.parametrize("tolerance_mm", [-1.0, math.inf, math.nan])
def test_tolerance_of_a_region(tolerance_mm):
    with pytest.raises(ValueError, match="tolerance_mm"):
        Region("liver", (1,), tolerance_mm)
