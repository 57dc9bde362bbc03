import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from rankseg_med.cleanup import keep_touching

label_maps = st.one_of(
    arrays(np.uint8, (5, 4, 3), elements=st.integers(0, 3)), arrays(np.int64, (6, 5), elements=st.integers(0, 3))
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(label_map=label_maps, connectivity=st.integers(1, 2), body=st.sampled_from([[2], [2, 3]]))
def test_agrees_with_dilation(label_map, connectivity, body):
    before = label_map.copy()
    cleaned = keep_touching(label_map, [body], organ=1, connectivity=connectivity)
    np.testing.assert_array_equal(label_map, before)
    assert cleaned.dtype == label_map.dtype
    structure = ndimage.generate_binary_structure(label_map.ndim, connectivity)
    near_organ = ndimage.binary_dilation(label_map == 1, structure)
    components, count = ndimage.label(np.isin(label_map, body), structure)
    expected = label_map.copy()
    for number in range(1, count + 1):
        if not (near_organ & (components == number)).any():
            expected[components == number] = 0
    np.testing.assert_array_equal(cleaned, expected)


def test_tumours_inside_at_the_border_and_far_away():
    label_map = np.array([[1, 2, 1, 2, 0, 2, 2, 0, 1]])
    np.testing.assert_array_equal(keep_touching(label_map, [2], organ=1), [[1, 2, 1, 2, 0, 0, 0, 0, 1]])


def test_labels_each_on_their_own_or_as_one_body():
    """The rim 3 touches no organ, but it touches the core 2, which does."""
    label_map = np.array([[1, 2, 3]])
    np.testing.assert_array_equal(keep_touching(label_map, [2, 3], organ=1), [[1, 2, 0]])
    np.testing.assert_array_equal(keep_touching(label_map, [[2, 3]], organ=1), label_map)


def test_an_organ_of_several_labels():
    label_map = np.array([[1, 0, 3, 0, 4, 3]])
    np.testing.assert_array_equal(keep_touching(label_map, [3], organ=[1, 4]), [[1, 0, 0, 0, 4, 3]])


def test_without_the_organ_nothing_stays():
    label_map = np.array([[0, 2, 2, 5]])
    np.testing.assert_array_equal(keep_touching(label_map, [2], organ=1), [[0, 0, 0, 5]])


def test_empty_label_map():
    empty = np.zeros((2, 3, 4), np.uint8)
    np.testing.assert_array_equal(keep_touching(empty, [2], organ=1), empty)


@pytest.mark.parametrize(
    ("label_map", "options", "error", "message"),
    [
        (np.zeros((1, 2, 2, 2), int), {}, ValueError, "must be .X, Y. or .X, Y, Z., got shape"),
        (np.zeros((2, 2)), {}, TypeError, "must hold integers, got float64"),
        (np.zeros((2, 2), int), {"connectivity": 3}, ValueError, "connectivity must be from 1 .* to 2 .* got 3"),
        (np.zeros((2, 2), int), {"organ": 0}, ValueError, "must be positive"),
        (np.zeros((2, 2), int), {"labels": [[]]}, ValueError, "must be positive"),
        (np.zeros((2, 2), int), {"labels": [[1, 2]]}, ValueError, "labels and organ must differ"),
    ],
)
def test_wrong_input_is_named(label_map, options, error, message):
    with pytest.raises(error, match=message):
        keep_touching(label_map, **{"labels": [2], "organ": 1, **options})
