"""Exact metrics of label maps, against SciPy's dissimilarities and its morphology with voxels listed one by one."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial import distance
from torch.nn import functional as F

from rankseg_med.errors import InputError
from rankseg_med.losses.segmentation_metrics import SegmentationMetric

CLASSES = 4


@pytest.fixture(params=[(2, 16, 15), (2, 11, 10, 7)])
def maps(request):
    """Label maps and predictions of a batch, smooth enough to have insides; class 3 is predicted alone."""
    rng = np.random.default_rng(len(request.param))
    noise = ndimage.gaussian_filter(rng.normal(size=request.param), (0, *(1.5 for _ in request.param[1:])))
    truth = np.digitize(noise, np.quantile(noise, [0.4, 0.75]))
    shifted = noise + 0.4 * noise.std() * rng.normal(size=noise.shape)
    return truth, np.digitize(shifted, np.quantile(shifted, [0.35, 0.7, 0.95]))


def one_hot(labels):
    return F.one_hot(torch.from_numpy(labels), CLASSES).movedim(-1, 1).double()


def value(metric, truth, prediction):
    return float(metric.value(metric.counts(one_hot(prediction), one_hot(truth))))


def boundary(mask):
    """Voxels of a mask whose neighbours, corners included, are not all in it; none beyond the image."""
    cube = np.ones((3,) * mask.ndim)
    return {tuple(map(int, voxel)) for voxel in np.argwhere(mask & ~ndimage.binary_erosion(mask, cube, border_value=1))}


def near(voxels, shape, tolerance):
    """All voxels no farther than so many from one of these along each axis."""
    steps = list(itertools.product(range(-tolerance, tolerance + 1), repeat=len(shape)))
    moved = (tuple(int(a + b) for a, b in zip(voxel, step, strict=True)) for voxel in voxels for step in steps)
    return {voxel for voxel in moved if all(0 <= a < n for a, n in zip(voxel, shape, strict=True))}


def boundary_f1(truth, prediction, tolerance, classes):
    scores = []
    for label in classes:
        hits, found, n_predicted, n_true = 0, 0, 0, 0
        for t, p in zip(truth, prediction, strict=True):
            of_truth, of_prediction = boundary(t == label), boundary(p == label)
            hits += len(of_prediction & near(of_truth, t.shape, tolerance))
            found += len(of_truth & near(of_prediction, t.shape, tolerance))
            n_predicted, n_true = n_predicted + len(of_prediction), n_true + len(of_truth)
        if n_true:
            precision, recall = hits / max(n_predicted, 1), found / n_true
            scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0)
    return np.mean(scores)


def boundary_iou(truth, prediction, tolerance, classes):
    inside = []
    for t in truth:
        voxels = set().union(*(boundary(t == label) for label in classes))
        mask = np.zeros(t.shape, bool)
        for voxel in near(voxels, t.shape, tolerance):
            mask[voxel] = True
        inside.append(mask)
    region = np.stack(inside)
    assert 0 < region.mean() < 1  # or the tolerance would mean nothing here
    return np.mean(by_class(distance.jaccard, truth[region], prediction[region], classes))


def by_class(dissimilarity, truth, prediction, classes):
    return [1 - dissimilarity(truth.ravel() == label, prediction.ravel() == label) for label in classes]


def accuracies(truth, prediction, classes):
    return [np.mean(prediction[truth == label] == label) for label in classes]


def test_voxel_metrics_are_scipys(maps):
    every, frequencies = range(CLASSES), np.bincount(maps[0].ravel(), minlength=CLASSES)
    expected = {
        "gAcc": np.mean(maps[0] == maps[1]),
        "mAcc": np.mean(accuracies(*maps, [0, 1, 2])),
        "mIoU": np.mean(by_class(distance.jaccard, *maps, every)),
        "FWIoU": np.average(by_class(distance.jaccard, *maps, every), weights=frequencies),
        "Dice": np.mean(by_class(distance.dice, *maps, every)),
    }
    assert {name: value(SegmentationMetric(name), *maps) for name in expected} == pytest.approx(expected)


def test_without_background(maps):
    truth, prediction = maps
    expected = {
        "gAcc": np.mean(prediction[truth > 0] == truth[truth > 0]),
        "mAcc": np.mean(accuracies(*maps, [1, 2])),
        "mIoU": np.mean(by_class(distance.jaccard, *maps, [1, 2, 3])),
        "Dice": np.mean(by_class(distance.dice, *maps, [1, 2, 3])),
        "BF1": boundary_f1(*maps, 1, [1, 2, 3]),
    }
    found = {name: value(SegmentationMetric(name, False, 1), *maps) for name in expected}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("tolerance", [0, 1])
def test_boundary_metrics_are_those_of_listed_voxels(maps, tolerance):
    found = value(SegmentationMetric("BF1", tolerance_voxels=tolerance), *maps)
    assert found == pytest.approx(boundary_f1(*maps, tolerance, range(CLASSES)))
    assert 0 < found < 1
    found = value(SegmentationMetric("BIoU", tolerance_voxels=tolerance), *maps)
    assert found == pytest.approx(boundary_iou(*maps, tolerance, range(CLASSES)))


def test_boundary_iou_looks_at_a_band():
    truth, prediction = np.zeros((1, 11, 12), np.int64), np.zeros((1, 11, 12), np.int64)
    truth[:, :, 6:] = 1
    prediction[:, :, 5:] = 1
    prediction[:, :2, 0] = 3  # far from the boundary: not seen
    metric = SegmentationMetric("BIoU", tolerance_voxels=1)
    # Columns 4 to 7 are looked at. Of 44 voxels, class 0 has 22, of which 11 are found; 1 has 22, and 33 are predicted.
    assert value(metric, truth, prediction) == pytest.approx((11 / 22 + 22 / 33) / 2)


@pytest.mark.parametrize("name", ["gAcc", "mAcc", "mIoU", "FWIoU", "BIoU", "BF1", "Dice"])
def test_counts_of_batches_add_up(maps, name):
    truth, prediction = maps
    metric = SegmentationMetric(name, tolerance_voxels=1)
    parts = [metric.counts(one_hot(prediction[[i]]), one_hot(truth[[i]])) for i in range(2)]
    whole = metric.counts(one_hot(prediction), one_hot(truth))
    torch.testing.assert_close(sum(parts), whole)
    assert value(metric, truth, truth) == pytest.approx(1)


@pytest.mark.parametrize("name", ["mAcc", "BIoU", "BF1"])
def test_nothing_to_score_is_a_perfect_score(name):
    empty = np.zeros((1, 4, 4), np.int64)
    assert value(SegmentationMetric(name, include_background=False), empty, empty + 1) == 1


def test_what_is_no_metric(wrong_types):
    with pytest.raises(InputError, match=r"metric must be one of gAcc, .*, Dice, got 'hd95'"):
        SegmentationMetric("hd95")
    with pytest.raises(InputError, match="tolerance_voxels must be at least 0, got -1"):
        SegmentationMetric("BF1", tolerance_voxels=-1)
