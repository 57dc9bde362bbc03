import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from rankseg_med.metrics.lesion_matching import match_lesions
from rankseg_med.metrics.lesions import LesionScores, score_lesions

MM = (1.0, 1.0, 1.0)
pairs = array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def mask(*boxes, shape=(10, 10, 10)):
    volume = np.zeros(shape, dtype=bool)
    for start, stop in boxes:
        volume[tuple(map(slice, start, stop))] = True
    return volume


def fields(scores):
    names = ("precision", "recall", "f1", "segmentation_quality", "panoptic_quality", "mean_dice")
    return {name: getattr(scores, name) for name in names}


class TestByHand:
    """Reference: a cube of 27 voxels and one of 8. Prediction: the larger one shifted by a voxel, and a stray voxel."""

    prediction = mask(((1, 1, 2), (4, 4, 5)), ((9, 9, 9), (10, 10, 10)))
    reference = mask(((1, 1, 1), (4, 4, 4)), ((6, 6, 6), (8, 8, 8)))

    def test_found_missed_and_invented(self):
        scores = score_lesions(self.prediction, self.reference, (0.5, 2.0, 3.0))
        # 18 of 36 voxels in common; a voxel is 3 mm3.
        values = [
            [(lesion.volume_ml, lesion.iou, lesion.dice) for lesion in side]
            for side in (scores.prediction, scores.reference)
        ]
        np.testing.assert_allclose(
            values, [[(0.081, 1 / 2, 2 / 3), (0.003, 0, 0)], [(0.081, 1 / 2, 2 / 3), (0.024, 0, 0)]]
        )
        assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (1, 1, 1)
        assert fields(scores) == {
            "precision": 0.5,
            "recall": 0.5,
            "f1": 0.5,
            "segmentation_quality": 0.5,
            "panoptic_quality": 0.25,
            "mean_dice": pytest.approx(2 / 9),
        }

    def test_the_threshold_must_be_exceeded(self):
        assert score_lesions(self.prediction, self.reference, MM, iou_threshold=0.499).true_positives == 1
        scores = score_lesions(self.prediction, self.reference, MM, iou_threshold=0.5)
        assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (0, 2, 2)
        assert not any(lesion.is_matched for lesion in scores.prediction + scores.reference)

    def test_counts_by_size(self):
        small, large = score_lesions(self.prediction, self.reference, MM).by_size([0.008])
        assert (small.minimum_ml, small.maximum_ml, large.minimum_ml, large.maximum_ml) == (0, 0.008, 0.008, math.inf)
        # The reference lesion of exactly 0.008 ml is of the upper class.
        assert (small.n_reference, small.n_detected, small.n_prediction, small.n_false_positive) == (0, 0, 1, 1)
        assert (large.n_reference, large.n_detected, large.n_prediction, large.n_false_positive) == (2, 1, 1, 0)

    def test_pooled_over_cases(self):
        case = score_lesions(self.prediction, self.reference, MM)
        nothing = score_lesions(mask(), mask(), MM)
        missed = score_lesions(mask(), self.reference, MM)
        pooled = LesionScores.pooled([case, nothing, missed])
        assert (pooled.precision, pooled.recall, pooled.panoptic_quality) == (1 / 2, 1 / 4, 0.5 / 3)
        assert math.isnan(LesionScores.pooled([]).f1)


class TestMatching:
    def test_the_sum_of_iou_is_largest_not_the_first_pair_best(self):
        # Prediction 1 overlaps both references; the better of its two pairs would leave prediction 2 alone.
        prediction = np.array([[1, 1, 1, 1, 2, 2]])
        reference = np.array([[1, 1, 2, 2, 2, 2]])
        matches = {(match.prediction, match.reference): match.iou for match in match_lesions(prediction, reference)}
        assert matches == {(1, 1): 1 / 2, (2, 2): 1 / 2}
        prediction = np.array([[1, 1, 1, 1, 1, 0, 2]])
        reference = np.array([[0, 0, 0, 1, 1, 1, 1]])
        (match,) = match_lesions(prediction, reference)
        assert (match.prediction, match.reference, match.iou) == (1, 1, 2 / 7)

    def test_one_prediction_over_two_lesions_finds_one(self):
        scores = score_lesions(mask(((0, 0, 0), (1, 1, 9))), mask(((0, 0, 0), (1, 1, 5)), ((0, 0, 6), (1, 1, 9))), MM)
        assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (1, 0, 1)
        assert scores.reference[0].iou == 5 / 9

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(pairs, st.sampled_from([0.0, 0.2, 0.5]), st.integers(1, 2))
    def test_agrees_with_enumeration(self, pair, threshold, connectivity):
        """All one-to-one matchings of SciPy's components, by brute force."""
        structure = ndimage.generate_binary_structure(pair[0].ndim, connectivity)
        (prediction, n), (reference, m) = (ndimage.label(side, structure) for side in pair)
        if max(n, m) > 6:
            return
        ious = np.zeros((n, m))
        for i, j in np.ndindex(n, m):
            p, r = prediction == i + 1, reference == j + 1
            ious[i, j] = (p & r).sum() / (p | r).sum()
        ious[ious <= threshold] = 0
        if n > m:
            ious = ious.T
        best = max(
            sum(ious[row, column] for row, column in enumerate(columns))
            for columns in itertools.permutations(range(ious.shape[1]), ious.shape[0])
        )
        scores = score_lesions(*pair, MM[: pair[0].ndim], iou_threshold=threshold, connectivity=connectivity)
        assert (len(scores.prediction), len(scores.reference)) == (n, m)
        assert sum(lesion.iou for lesion in scores.reference) == pytest.approx(best)
        assert sorted(lesion.iou for lesion in scores.prediction if lesion.is_matched) == sorted(
            lesion.iou for lesion in scores.reference if lesion.is_matched
        )


@pytest.mark.parametrize(
    ("threshold", "counts", "f1", "segmentation_quality", "panoptic_quality"),
    [
        (0.0, (19, 11, 7), 0.6785714285714286, 0.4107684613302109, 0.2787357416169288),
        (0.5, (7, 23, 19), 0.25, 0.6665971515933865, 0.16664928789834663),
    ],
)
def test_equals_panoptica(threshold, counts, f1, segmentation_quality, panoptic_quality):
    """Values of panoptica 2.1.7 (MaxBipartiteMatching over IoU), which is too heavy to install with the tests."""
    noise = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=(2, 24, 24, 24)), (0, 1.5, 1.5, 1.5))
    scores = score_lesions(noise[0] + 0.5 * noise[1] > 0.12, noise[0] > 0.12, MM, iou_threshold=threshold)
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == counts
    assert (scores.f1, scores.segmentation_quality, scores.panoptic_quality) == pytest.approx(
        (f1, segmentation_quality, panoptic_quality)
    )


class TestEmpty:
    lesion = mask(((1, 1, 1), (3, 3, 3)))

    def test_both(self):
        assert all(map(math.isnan, fields(score_lesions(mask(), mask(), MM)).values()))

    def test_prediction(self):
        scores = fields(score_lesions(mask(), self.lesion, MM))
        assert math.isnan(scores.pop("precision"))
        assert math.isnan(scores.pop("segmentation_quality"))
        assert set(scores.values()) == {0}

    def test_reference(self):
        scores = fields(score_lesions(self.lesion, mask(), MM))
        assert math.isnan(scores.pop("recall"))
        assert math.isnan(scores.pop("segmentation_quality"))
        assert set(scores.values()) == {0}

    def test_size_classes(self):
        assert all(size.n_reference == size.n_prediction == 0 for size in score_lesions(mask(), mask(), MM).by_size())


@settings(deadline=None, derandomize=True, max_examples=50)
@given(pairs, st.sampled_from([0.0, 0.5]))
def test_swapping_the_sides_swaps_precision_and_recall(pair, threshold):
    spacing_mm = MM[: pair[0].ndim]
    there = score_lesions(*pair, spacing_mm, iou_threshold=threshold)
    back = score_lesions(*pair[::-1], spacing_mm, iou_threshold=threshold)
    assert there.precision == pytest.approx(back.recall, nan_ok=True)
    assert there.panoptic_quality == pytest.approx(back.panoptic_quality, nan_ok=True)
    assert there.panoptic_quality == pytest.approx(there.segmentation_quality * there.f1, nan_ok=True) or (
        there.true_positives == 0
    )
    perfect = score_lesions(pair[0], pair[0], spacing_mm, iou_threshold=threshold)
    assert set(fields(perfect).values()) == {1} or not pair[0].any()


@settings(deadline=None, derandomize=True, max_examples=50)
@given(pairs, st.data())
def test_padding_flips_and_axis_order_change_nothing(pair, data):
    ndim = pair[0].ndim
    spacing_mm = [1.0, 2.0, 3.0][:ndim]
    axes = data.draw(st.permutations(range(ndim)))
    axis = data.draw(st.integers(0, ndim - 1))
    flipped = [np.flip(np.pad(side, 2), axis).transpose(axes) for side in pair]
    # Above 0.5 the matching is unique, so the order of the lesions cannot change it.
    before = score_lesions(*pair, spacing_mm, iou_threshold=0.5)
    after = score_lesions(*flipped, [spacing_mm[axis] for axis in axes], iou_threshold=0.5)
    for side in ("prediction", "reference"):
        expected = [(lesion.volume_ml, lesion.iou) for lesion in getattr(before, side)]
        found = [(lesion.volume_ml, lesion.iou) for lesion in getattr(after, side)]
        np.testing.assert_allclose(sorted(found), sorted(expected))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"iou_threshold": 1.0}, ValueError, r"iou_threshold must be in \[0, 1\), got 1.0"),
        ({"iou_threshold": math.nan}, ValueError, "iou_threshold"),
        ({"connectivity": 26}, ValueError, "got 26; for 6 neighbours in 3-D pass 1, for 26 pass 3"),
        ({"spacing_mm": (1.0, 1.0)}, ValueError, "spacing_mm"),
        ({"reference": mask(shape=(9, 9, 9))}, ValueError, "same shape"),
        ({"reference": mask().astype(np.uint8)}, TypeError, "boolean mask"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_wrong_arguments_are_named(options, error, message):
    arguments = {"prediction": mask(), "reference": mask(), "spacing_mm": MM, **options}
    with pytest.raises(error, match=message):
        score_lesions(**arguments)


@pytest.mark.parametrize("edges_ml", [(0.0, 1.0), (4.0, 0.5), (1.0, math.inf), (math.nan,)])
def test_size_edges_must_rise(edges_ml):
    with pytest.raises(ValueError, match="positive, finite and rising"):
        LesionScores((), ()).by_size(edges_ml)


@pytest.mark.usefixtures("wrong_types")
def test_the_parts_check_their_arguments_too():
    with pytest.raises(ValueError, match="one shape"):
        match_lesions(np.ones((2, 2), np.uint8), np.ones((2, 3), np.uint8))
