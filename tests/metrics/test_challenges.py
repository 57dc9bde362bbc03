"""Presets against the challenges' definitions, stated once more by other means."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from surface_distance import compute_surface_dice_at_tolerance, compute_surface_distances

from rankseg_med.masks import bounding_box
from rankseg_med.metrics import find_preset, score_label_maps
from tests.metrics.lits_restated import detect, results, segmentation_scores, voxels

pytestmark = pytest.mark.filterwarnings("ignore:Please (use|import):DeprecationWarning")  # surface-distance of SciPy

SPACING_MM = (0.5, 2.0, 3.0)
LITS = find_preset("lits")
STRICT = LITS.as_official()
KITS23_LABELS = {"kidney_and_mass": (1, 2, 3), "mass": (2, 3), "tumour": (2,)}
KITS23_TOLERANCES_MM = {
    "kidney_and_mass": 1.0330772532390826,
    "mass": 1.1328796488598762,
    "tumour": 1.1498198361434828,
}


def noisy_pair(seed, shape=(9, 8, 10)):
    """A liver with several lesions that split, merge and touch, and a prediction that has part of that right."""
    generator = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(generator.normal(size=(2, *shape)), (0, 0.7, 0.7, 0.7))
    reference = np.ones(shape, np.uint8)
    reference[0] = 0
    prediction = np.roll(reference, seed % 3, axis=1)
    reference[(noise[0] > 0.25) & (reference == 1)] = 2
    prediction[noise[0] + generator.uniform(0, 1) * noise[1] > generator.uniform(0.1, 0.4)] = 2
    return prediction, reference


@pytest.fixture(params=["split", *(pytest.param(change, marks=pytest.mark.slow) for change in ("shifted", "eroded"))])
def kits_pair(request, shared_data):
    """A real kidney with three tumours, cut out, and a changed copy."""
    image = nib.load(shared_data / "kits19_labels" / "case_00001.nii.gz")
    label_map = np.asanyarray(image.dataobj)
    tumours = bounding_box(label_map == 2)
    reference = np.ascontiguousarray(label_map[tuple(slice(side.start - 4, side.stop + 4) for side in tumours)])
    if request.param == "shifted":
        prediction = np.roll(reference, (1, -2, 1), axis=(0, 1, 2))
    elif request.param == "eroded":
        prediction = reference * ndimage.binary_erosion(reference > 0)
        prediction[(reference == 2) & ~ndimage.binary_erosion(reference == 2) & (prediction > 0)] = 1
    else:
        prediction = reference.copy()
        prediction[::7][prediction[::7] == 2] = 1
    return prediction, reference, [float(step) for step in image.header.get_zooms()]


@pytest.mark.slow
def test_lits_strict_detects_what_the_script_detects():
    differing = 0
    for seed in range(150):
        prediction, reference = noisy_pair(seed)
        strict = STRICT.score(prediction, reference, SPACING_MM)
        for min_iou, counts in strict.detections.items():
            assert counts == detect(prediction == 2, reference == 2, min_iou)[0]
        differing += strict.detections != LITS.score(prediction, reference, SPACING_MM).detections
    assert differing > 20  # else there was nothing to see of the script's merging


def test_lits_strict_gives_the_scripts_results():
    cases = [noisy_pair(seed) for seed in range(12)]
    cases[3][0][cases[3][0] == 1] = 0  # tumour without liver
    cases[5][0][...] = 0
    ours = STRICT.summarise([STRICT.score(*pair, SPACING_MM) for pair in cases]).values
    assert ours == pytest.approx(results(cases, SPACING_MM), rel=1e-6)


@pytest.mark.slow
@pytest.mark.real_data
def test_lits_on_real_tumours(kits_pair):
    prediction, reference, spacing_mm = kits_pair
    expected = results([(prediction, reference)], spacing_mm)
    strict = STRICT.summarise([STRICT.score(*kits_pair)]).values
    assert strict == pytest.approx(expected, rel=1e-6)
    assert strict["lesion_recall_greater_zero"] > 0

    # Corrected: at IoU > 0.5 a lesion has one partner at most, so matching is enumeration.
    lesions = [
        [voxels(components == number) for number in range(1, count + 1)]
        for components, count in (ndimage.label(label_map == 2) for label_map in (prediction, reference))
    ]
    pairs = [(p, r) for p in lesions[0] for r in lesions[1] if len(p & r) > 0.5 * len(p | r)]
    corrected = LITS.summarise([LITS.score(*kits_pair)]).values
    assert corrected["lesion_precision"] == len(pairs) / len(lesions[0])
    assert corrected["lesion_recall"] == len(pairs) / len(lesions[1])
    scores = [segmentation_scores(*pair, spacing_mm) for pair in pairs]
    for metric in ("voe", "assd_mm", "mssd_mm", "rmsd_mm"):
        expected[f"lesion_{metric}"] = np.mean([score[metric] for score in scores]) if scores else np.nan
    expected["lesion_rvd"] = np.mean([len(p) / len(r) - 1 for p, r in pairs]) if pairs else np.nan
    expected["liver_rvd"] = np.count_nonzero(prediction) / np.count_nonzero(reference) - 1
    expected["tumour_burden_max"] = abs(expected["tumour_burden_max"])
    for metric in expected.keys() - {f"lesion_{name}" for name in ("precision", "recall")}:
        if not metric.endswith("_greater_zero"):
            assert corrected[metric] == pytest.approx(expected[metric], rel=1e-6, nan_ok=True), metric


def kits23(prediction, reference, spacing_mm):
    """`compute_metrics_for_label` of KiTS23's `metrics.py`, once more."""
    expected = {}
    for name, labels in KITS23_LABELS.items():
        p, r = np.isin(prediction, labels), np.isin(reference, labels)
        if not p.any() or not r.any():
            expected[name] = dict.fromkeys(("dice", "surface_dice"), float(not p.any() and not r.any()))
            continue
        distances = compute_surface_distances(r, p, spacing_mm)
        expected[name] = {
            "dice": 2 * (p & r).sum() / (p.sum() + r.sum()),
            "surface_dice": compute_surface_dice_at_tolerance(distances, KITS23_TOLERANCES_MM[name]),
        }
    return expected


def kits23_of_ours(prediction, reference, spacing_mm):
    preset = find_preset("kits23")
    rows = score_label_maps(prediction, reference, preset.regions, spacing_mm, preset.scoring)
    return {row.region.name: row.values for row in rows}


@pytest.mark.parametrize("seed", range(8))
def test_kits23_equals_its_script(seed):
    generator = np.random.default_rng(seed)
    # From seed to seed other labels are absent, from one side or both.
    prediction, reference = (generator.choice(4, size=(7, 6, 5), p=[0.7, 0.3, 0, 0]).astype(np.uint8) for _ in "pr")
    for bit, (label_map, label) in enumerate(((prediction, 2), (reference, 2), (reference, 3))):
        if seed >> bit & 1:
            label_map[2:4, 1 + bit : 4, 2:4] = label
    ours, expected = (score(prediction, reference, SPACING_MM) for score in (kits23_of_ours, kits23))
    for name, values in expected.items():
        assert ours[name] == pytest.approx(values, rel=1e-9)


@pytest.mark.real_data
def test_kits23_on_real_tumours(kits_pair):
    prediction, reference, _ = kits_pair
    # KiTS19 has no cysts: every tumour voxel in the first third becomes one.
    for label_map in (prediction, reference):
        label_map[: len(label_map) // 3][label_map[: len(label_map) // 3] == 2] = 3
    ours, expected = kits23_of_ours(*kits_pair), kits23(*kits_pair)
    assert 0 < expected["tumour"]["surface_dice"] < 1
    for name, values in expected.items():
        assert ours[name] == pytest.approx(values, rel=1e-9)
