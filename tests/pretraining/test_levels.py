import numpy as np
import pytest

from rankseg_med.pretraining import label_and_weight
from rankseg_med.pretraining import quantised as quantised_where


def quantised(values):
    """Of all voxels."""
    return quantised_where(values, np.ones(values.shape, bool))


def test_a_hundred_values_have_ten_in_each_level():
    """0 to 99 in any order: the border after the first decile is 9.9, after the second 19.8, ..."""
    values = np.random.default_rng(0).permutation(100).astype(np.float32)
    np.testing.assert_array_equal(quantised(values.reshape(4, 5, 5)), (values // 10).reshape(4, 5, 5))


@pytest.mark.parametrize("size", [10, 11, 95, 1000, 1001])
def test_the_highest_level_has_a_tenth_of_the_voxels(size):
    levels = quantised(np.random.default_rng(size).normal(size=size))
    assert np.count_nonzero(levels == 9) in (size // 10, -(-size // 10))


def test_borders_are_numpys_quantiles():
    values = np.random.default_rng(1).normal(size=(6, 7, 8))
    levels = quantised(values)
    for level in range(1, 10):
        np.testing.assert_array_equal(levels >= level, values > np.quantile(values, level / 10))


def test_ties_are_never_above_a_tenth():
    """Of 20 values 15 are alike: seven borders are on them; the next two are at places 15.2 and 17.1: 1.2 and 3.1."""
    values = np.array([0.5] * 15 + [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(quantised(values), [0] * 15 + [7, 8, 8, 9, 9])
    np.testing.assert_array_equal(quantised(np.array([0.0] * 9 + [1.0])), [0] * 9 + [9])


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0])
def test_a_constant_map_has_no_foreground(value):
    assert not quantised(np.full((3, 4, 5), value, np.float32)).any()


def test_labels_and_weights_by_hand():
    levels = np.array([[0, 3, 8], [9, 9, 6]], np.uint8)
    label, weight = label_and_weight(levels, 2, np.ones(levels.shape, bool))
    np.testing.assert_array_equal(label, [[0, 0, 0], [2, 2, 0]])
    np.testing.assert_allclose(weight, [[1, 2 / 3, 1 / 9], [1, 1, 1 / 3]], rtol=1e-6)


def test_images_without_structures_and_without_explanation():
    levels = np.array([0, 5, 9], np.uint8)
    label, weight = label_and_weight(levels, 0, np.array([True, True, False]))
    assert (label.tolist(), weight.tolist()) == ([0, 0, 0], [1, 1, 1])
    label, weight = label_and_weight(np.zeros(3, np.uint8), 1, np.ones(3, bool))
    assert (label.tolist(), weight.tolist()) == ([0, 0, 0], [0, 0, 0])


def test_of_what_was_not_seen_nothing_is_known():
    """Of 40 voxels the first 20 were seen: the highest two of these are the highest tenth, whatever the others have."""
    values = np.concatenate([np.arange(20.0), np.full(20, 99.0)])
    seen = np.arange(40) < 20
    levels = quantised_where(values, seen)
    np.testing.assert_array_equal(levels, [*np.repeat(np.arange(10), 2), *[0] * 20])
    label, weight = label_and_weight(levels, 1, seen)
    assert np.flatnonzero(label).tolist() == [18, 19]
    np.testing.assert_allclose(weight[:20:2], [*(1 - np.arange(9) / 9), 1], rtol=1e-6)
    assert not weight[20:].any()
