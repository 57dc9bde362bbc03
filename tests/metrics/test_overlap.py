import math

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from medpy.metric import binary as medpy
from monai.metrics import compute_dice, compute_iou

from rankseg_med.metrics import dice, jaccard

pairs = array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def square(start, stop):
    mask = np.zeros((6, 6), dtype=bool)
    mask[start:stop, start:stop] = True
    return mask


def test_squares_sharing_one_voxel():
    # 4 + 4 voxels, 1 shared: Dice 2/8, Jaccard 1/7.
    assert dice(square(0, 2), square(1, 3)) == 0.25
    assert jaccard(square(0, 2), square(1, 3)) == pytest.approx(1 / 7)


def test_equals_simpleitk_medpy_and_monai():
    generator = np.random.default_rng(3)
    prediction, reference = generator.random((2, 9, 7, 5)) < 0.4

    itk = SimpleITK.LabelOverlapMeasuresImageFilter()
    itk.Execute(
        SimpleITK.GetImageFromArray(reference.astype(np.uint8)),
        SimpleITK.GetImageFromArray(prediction.astype(np.uint8)),
    )
    as_batch = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]

    for oracle in (
        itk.GetDiceCoefficient(),
        medpy.dc(prediction, reference),
        compute_dice(*as_batch).item(),
    ):
        assert dice(prediction, reference) == pytest.approx(oracle)
    for oracle in (
        itk.GetJaccardCoefficient(),
        medpy.jc(prediction, reference),
        compute_iou(*as_batch).item(),
    ):
        assert jaccard(prediction, reference) == pytest.approx(oracle)


@settings(deadline=None)
@given(pairs)
def test_symmetric_bounded_and_related(pair):
    prediction, reference = pair
    overlap = dice(prediction, reference)
    assert dice(reference, prediction) == pytest.approx(overlap, nan_ok=True)
    assert jaccard(reference, prediction) == pytest.approx(jaccard(prediction, reference), nan_ok=True)
    assert jaccard(prediction, reference) == pytest.approx(overlap / (2 - overlap), nan_ok=True)
    if prediction.any():
        assert 0 <= overlap <= 1
        assert dice(prediction, prediction) == jaccard(prediction, prediction) == 1


@pytest.mark.parametrize("metric", [dice, jaccard])
def test_empty_masks(metric):
    empty, full = np.zeros((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
    assert math.isnan(metric(empty, empty))
    assert metric(empty, full) == metric(full, empty) == 0


@pytest.mark.parametrize("metric", [dice, jaccard])
def test_rejects_what_is_not_a_pair_of_masks(metric):
    mask = np.ones((3, 3), dtype=bool)
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(3, 4\)"):
        metric(mask, np.ones((3, 4), dtype=bool))
    with pytest.raises(ValueError, match=r"2 or 3 spatial axes"):
        metric(mask[None, None], mask[None, None])
    with pytest.raises(TypeError, match=r"(?i)bool"):
        metric(mask, mask.astype(np.uint8))
