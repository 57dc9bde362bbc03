import math
from dataclasses import astuple

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given
from medpy.metric import binary as medpy
from monai.metrics import compute_dice, compute_iou, get_confusion_matrix

from rankseg_med.metrics import (
    VoxelCounts,
    count_voxels,
    dice,
    jaccard,
    precision,
    relative_volume_difference,
    sensitivity,
    volume_ml,
)
from tests.metrics.shapes import SETTINGS, SPACING_MM, box, masks

OVERLAPS = [dice, jaccard, sensitivity, precision]


def square(start, stop):
    mask = np.zeros((6, 6), dtype=bool)
    mask[start:stop, start:stop] = True
    return mask


def test_squares_sharing_one_voxel():
    # 4 and 9 voxels, 1 shared.
    pair = square(0, 2), square(1, 4)
    assert [overlap(*pair) for overlap in OVERLAPS] == pytest.approx([2 / 13, 1 / 12, 1 / 9, 1 / 4])
    # Of 36 voxels, and of an image of 70 that these were cut from.
    assert count_voxels(*pair) == VoxelCounts(1, 3, 8, 24)
    assert count_voxels(*pair, image_shape=(7, 10)) == VoxelCounts(1, 3, 8, 58)


def test_equals_simpleitk_medpy_and_monai():
    generator = np.random.default_rng(3)
    prediction, reference = generator.random((2, 9, 7, 5)) < 0.4

    itk = SimpleITK.LabelOverlapMeasuresImageFilter()
    itk.Execute(*[SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, reference)])
    as_batch = [torch.from_numpy(mask).float()[None, None] for mask in (prediction, reference)]
    true_positives, false_positives, true_negatives, false_negatives = get_confusion_matrix(*as_batch)[0, 0].tolist()

    counts = (true_positives, false_positives, false_negatives, true_negatives)
    assert astuple(count_voxels(prediction, reference)) == counts
    for overlap, oracles in {
        dice: (itk.GetDiceCoefficient(), medpy.dc(prediction, reference), compute_dice(*as_batch).item()),
        jaccard: (itk.GetJaccardCoefficient(), medpy.jc(prediction, reference), compute_iou(*as_batch).item()),
        sensitivity: (
            1 - itk.GetFalseNegativeError(),
            medpy.sensitivity(prediction, reference),
            true_positives / (true_positives + false_negatives),
        ),
        precision: (
            1 - itk.GetFalseDiscoveryRate(),
            medpy.precision(prediction, reference),
            true_positives / (true_positives + false_positives),
        ),
    }.items():
        assert [overlap(prediction, reference)] * 3 == pytest.approx(oracles)


@SETTINGS
@given(masks(2, non_empty=False))
def test_symmetric_bounded_and_related(pair):
    prediction, reference = pair
    overlap = dice(prediction, reference)
    assert dice(reference, prediction) == pytest.approx(overlap, nan_ok=True)
    assert jaccard(reference, prediction) == pytest.approx(jaccard(prediction, reference), nan_ok=True)
    assert jaccard(prediction, reference) == pytest.approx(overlap / (2 - overlap), nan_ok=True)
    assert precision(prediction, reference) == pytest.approx(sensitivity(reference, prediction), nan_ok=True)
    if prediction.any():
        assert all(0 <= metric(prediction, reference) <= 1 for metric in (dice, jaccard, precision))
        assert all(metric(prediction, prediction) == 1 for metric in OVERLAPS)
    if (prediction & reference).any():
        harmonic_mean = 2 / (1 / sensitivity(prediction, reference) + 1 / precision(prediction, reference))
        assert overlap == pytest.approx(harmonic_mean)


def test_empty_masks():
    empty, full = np.zeros((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
    assert all(math.isnan(overlap(empty, empty)) for overlap in OVERLAPS)
    assert [overlap(empty, full) for overlap in OVERLAPS] == pytest.approx([0, 0, 0, math.nan], nan_ok=True)
    assert [overlap(full, empty) for overlap in OVERLAPS] == pytest.approx([0, 0, math.nan, 0], nan_ok=True)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_rejects_what_is_not_a_pair_of_masks(overlap):
    mask = np.ones((3, 3), dtype=bool)
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(3, 4\)"):
        overlap(mask, np.ones((3, 4), dtype=bool))
    with pytest.raises(ValueError, match=r"2 or 3 spatial axes"):
        overlap(mask[None, None], mask[None, None])
    with pytest.raises(TypeError, match=r"(?i)bool"):
        overlap(mask, mask.astype(np.uint8))


def test_volume_by_hand():
    # 2 x 3 x 4 voxels of 3 mm^3.
    assert volume_ml(box((6, 6, 6), (0, 2), (1, 4), (2, 6)), SPACING_MM) == pytest.approx(0.072)
    assert volume_ml(np.zeros((2, 2), dtype=bool), SPACING_MM[:2]) == 0


def test_difference_is_signed_and_relative_to_the_reference():
    small, large = box((4, 4), (0, 1), (0, 2)), box((4, 4), (0, 2), (0, 4))
    assert relative_volume_difference(small, large) == -0.75
    assert relative_volume_difference(large, small) == 3


@SETTINGS
@given(masks(2))
def test_difference_equals_medpy(pair):
    assert relative_volume_difference(*pair) == pytest.approx(medpy.ravd(*pair))


def test_volumes_of_empty_masks():
    empty, full = np.zeros((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
    assert relative_volume_difference(empty, full) == -1
    assert math.isnan(relative_volume_difference(full, empty))
    assert math.isnan(relative_volume_difference(empty, empty))


def test_volume_rejections():
    mask = np.ones((3, 3), dtype=bool)
    with pytest.raises(ValueError, match="spacing_mm"):
        volume_ml(mask, SPACING_MM)
    with pytest.raises(TypeError, match=r"(?i)bool"):
        relative_volume_difference(mask, mask.astype(np.uint8))
