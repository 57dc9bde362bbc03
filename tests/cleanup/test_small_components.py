import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from rankseg_med.cleanup import remove_small_components

MM = (1.0, 1.0, 1.0)
label_maps = array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(label_map=label_maps, voxels=st.integers(0, 6), connectivity=st.integers(1, 2))
def test_agrees_with_scipy(label_map, voxels, connectivity):
    before = label_map.copy()
    minimum_ml = voxels * 0.006
    cleaned = remove_small_components(
        label_map, (1.0, 2.0, 3.0)[-label_map.ndim :], minimum_ml, connectivity=connectivity
    )
    np.testing.assert_array_equal(label_map, before)
    assert cleaned.dtype == label_map.dtype
    expected = np.zeros_like(label_map)
    for label in (1, 2):
        structure = ndimage.generate_binary_structure(label_map.ndim, connectivity)
        components, count = ndimage.label(label_map == label, structure)
        for number in range(1, count + 1):
            if (components == number).sum() >= voxels:
                expected[components == number] = label
    np.testing.assert_array_equal(cleaned, expected)


def test_the_volume_decides_not_the_number_of_voxels():
    label_map = np.array([[[1, 1, 0, 1, 1, 1]]], np.uint8)
    np.testing.assert_array_equal(remove_small_components(label_map, MM, 0.003), [[[0, 0, 0, 1, 1, 1]]])
    np.testing.assert_array_equal(remove_small_components(label_map, (1.0, 1.0, 1.5), 0.003), label_map)


def test_just_the_minimum_stays_whatever_the_rounding_of_the_spacing():
    label_map = np.ones((1, 1, 3), np.uint8)
    for spacing in np.float32([0.1, 0.7, 0.9765625, 1.1]):
        minimum_ml = 3 * float(str(spacing)) ** 3 / 1000
        assert remove_small_components(label_map, [float(spacing)] * 3, minimum_ml).all()
        assert not remove_small_components(label_map, [float(spacing)] * 3, minimum_ml * 1.01).any()


def test_groups_count_as_one_body_and_others_stay():
    label_map = np.array([[1, 2, 2, 0, 2, 0, 3]])
    np.testing.assert_array_equal(
        remove_small_components(label_map, (1.0, 1.0), 0.003, [[1, 2]]), [[1, 2, 2, 0, 0, 0, 3]]
    )
    np.testing.assert_array_equal(remove_small_components(label_map, (1.0, 1.0), 0.002, [2]), [[1, 2, 2, 0, 0, 0, 3]])


def test_nothing_to_remove():
    empty = np.zeros((2, 3, 4), np.uint8)
    np.testing.assert_array_equal(remove_small_components(empty, MM, 1.0), empty)
    one = empty.copy()
    one[0, 0, 0] = 1
    np.testing.assert_array_equal(remove_small_components(one, MM, 1.0, [5]), one)
    np.testing.assert_array_equal(remove_small_components(one, MM, 0.0), one)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label_map": np.zeros((2, 2, 2))}, TypeError, "must hold integers, got float64"),
        ({"spacing_mm": (1.0, 1.0)}, ValueError, "spacing_mm must be 3 positive numbers"),
        ({"spacing_mm": (1.0, 1.0, 0.0)}, ValueError, "spacing_mm must be 3 positive numbers"),
        ({"minimum_ml": -1.0}, ValueError, "minimum_ml must be a volume in millilitres"),
        ({"minimum_ml": math.nan}, ValueError, "minimum_ml must be a volume in millilitres"),
        ({"labels": [0]}, ValueError, "must be positive"),
        ({"connectivity": 26}, ValueError, "got 26"),
    ],
)
def test_wrong_input_is_named(arguments, error, message):
    usual = {"label_map": np.zeros((2, 2, 2), np.uint8), "spacing_mm": MM, "minimum_ml": 0.1}
    with pytest.raises(error, match=message):
        remove_small_components(**{**usual, **arguments})
