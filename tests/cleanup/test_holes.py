import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from rankseg_med.cleanup import fill_holes

label_maps = array_shapes(min_dims=2, max_dims=3, min_side=3, max_side=6).flatmap(
    # Mostly foreground, or there would be no holes.
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([1, 1, 1, 2, 0]))
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(label_map=label_maps, body=st.sampled_from([[1], [2, 1]]), overwrite=st.booleans())
def test_agrees_with_scipy(label_map, body, overwrite):
    before = label_map.copy()
    filled = fill_holes(label_map, [body], overwrite)
    np.testing.assert_array_equal(label_map, before)
    assert filled.dtype == label_map.dtype
    mask = np.isin(label_map, body)
    hole = ndimage.binary_fill_holes(mask) & ~mask
    if not overwrite:
        hole &= label_map == 0
    np.testing.assert_array_equal(filled, np.where(hole, body[0], label_map))


def ring():
    """An organ 1 with a tumour 2 in its wall, around background with a vessel 3."""
    return np.array(
        [
            [0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 1, 0],
            [0, 1, 0, 3, 2, 0],
            [0, 1, 1, 1, 1, 0],
            [0, 0, 0, 0, 0, 0],
        ],
        np.uint8,
    )


def test_a_group_encloses_as_one_body_and_is_filled_with_its_first_label():
    expected = ring()
    expected[2, 2] = 1
    np.testing.assert_array_equal(fill_holes(ring(), [[1, 2]]), expected)
    expected[2, 3] = 1
    np.testing.assert_array_equal(fill_holes(ring(), [[1, 2]], overwrite=True), expected)
    np.testing.assert_array_equal(fill_holes(ring()), ring())


def test_a_hole_open_along_the_third_axis_is_none():
    tube = np.repeat(ring()[..., None], 3, axis=2)
    np.testing.assert_array_equal(fill_holes(tube, [[1, 2]]), tube)
    tube[1:4, 1:5, [0, 2]] = 1
    assert fill_holes(tube, [[1, 2]])[2, 2, 1] == 1


def test_the_border_of_the_image_is_outside():
    label_map = np.array([[1, 0, 1], [1, 1, 1]])
    np.testing.assert_array_equal(fill_holes(label_map), label_map)


def test_entries_are_filled_one_after_the_other():
    nested = np.full((5, 5), 1)
    nested[1:4, 1:4] = 2
    nested[2, 2] = 0
    for labels, label in (([1, 2], 1), ([2, 1], 2), (None, 1)):
        assert fill_holes(nested, labels)[2, 2] == label


def test_a_hole_left_by_a_removed_tumour_becomes_organ():
    label_map = np.ones((3, 3, 3), np.uint8)
    label_map[1, 1, 1] = 0
    assert (fill_holes(label_map, [[1, 2]]) == 1).all()


def test_empty_label_map_and_absent_label_change_nothing():
    empty = np.zeros((2, 3, 4), np.uint8)
    np.testing.assert_array_equal(fill_holes(empty), empty)
    np.testing.assert_array_equal(fill_holes(ring(), [7]), ring())


@pytest.mark.parametrize(
    ("label_map", "labels", "error", "message"),
    [
        (np.zeros((2, 2, 2, 2), int), None, ValueError, "must be .X, Y. or .X, Y, Z., got shape"),
        (np.zeros((2, 2, 2)), None, TypeError, "must hold integers, got float64"),
        (np.zeros((2, 2), int), [0], ValueError, "must be positive"),
        (np.zeros((2, 2), int), [[1, 0]], ValueError, "must be positive"),
    ],
)
def test_wrong_input_is_named(label_map, labels, error, message):
    with pytest.raises(error, match=message):
        fill_holes(label_map, labels)
