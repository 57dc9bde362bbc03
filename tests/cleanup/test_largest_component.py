import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from rankseg_med.cleanup import keep_largest_component


def expected_largest(mask: np.ndarray, connectivity: int) -> np.ndarray:
    """SciPy's labelling in place of cc3d's."""
    components, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, connectivity))
    if count == 0:
        return mask
    sizes = ndimage.sum_labels(mask, components, range(1, count + 1))
    return components == int(np.argmax(sizes)) + 1


@settings(max_examples=150, deadline=None)
@given(
    label_map=st.one_of(
        arrays(np.uint8, (6, 5, 4), elements=st.integers(0, 2)), arrays(np.int64, (7, 6), elements=st.integers(0, 3))
    ),
    connectivity=st.integers(1, 2),
)
def test_every_label_agrees_with_scipy(label_map, connectivity):
    before = label_map.copy()
    cleaned = keep_largest_component(label_map, connectivity=connectivity)
    np.testing.assert_array_equal(label_map, before)
    assert cleaned.dtype == label_map.dtype
    for label in (1, 2, 3):
        truth = expected_largest(label_map == label, connectivity)
        kept = cleaned == label
        # Of equally large components either library may number another one first.
        assert kept.sum() == truth.sum()
        assert ndimage.label(kept, ndimage.generate_binary_structure(kept.ndim, connectivity))[1] <= 1
        assert not (kept & (label_map != label)).any()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    mask=st.lists(st.integers(1, 9), min_size=2, max_size=3).flatmap(lambda shape: arrays(np.bool_, tuple(shape))),
    data=st.data(),
)
def test_masks_of_every_shape_agree_with_scipy(mask, data):
    """Also of odd and flat shapes, where cc3d labels background voxels of boolean images or fails."""
    connectivity = data.draw(st.integers(1, mask.ndim))
    kept = keep_largest_component(mask, connectivity=connectivity)
    assert kept.sum() == expected_largest(mask, connectivity).sum()
    assert ndimage.label(kept, ndimage.generate_binary_structure(mask.ndim, connectivity))[1] <= 1
    assert not (kept & ~mask).any()


def test_memory_order_does_not_matter():
    label_map = np.random.default_rng(0).integers(0, 3, (7, 8, 9)).astype(np.uint8)
    for connectivity in (1, 2, 3):
        expected = keep_largest_component(label_map, [1, [1, 2]], connectivity)
        found = keep_largest_component(np.asfortranarray(label_map), [1, [1, 2]], connectivity)
        assert (found > 0).sum() == (expected > 0).sum()


def test_a_group_is_one_body():
    """Tumour voxels stay with the organ that they touch, also where they are the smaller component of their label."""
    label_map = np.array([[1, 1, 2, 0, 2, 2, 2, 0, 1]])
    np.testing.assert_array_equal(keep_largest_component(label_map, [[1, 2]]), [[1, 1, 2, 0, 0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(keep_largest_component(label_map), [[1, 1, 0, 0, 2, 2, 2, 0, 0]])
    np.testing.assert_array_equal(keep_largest_component(label_map, [1]), [[1, 1, 2, 0, 2, 2, 2, 0, 0]])


def test_diagonal_neighbours_depend_on_connectivity():
    label_map = np.eye(3, dtype=np.uint8)
    np.testing.assert_array_equal(keep_largest_component(label_map), label_map)
    assert keep_largest_component(label_map, connectivity=1).sum() == 1


def test_empty_label_map_and_absent_label_change_nothing():
    empty = np.zeros((3, 3, 3), np.uint8)
    np.testing.assert_array_equal(keep_largest_component(empty), empty)
    one = empty.copy()
    one[0, 0, 0] = 1
    np.testing.assert_array_equal(keep_largest_component(one, [5]), one)


@pytest.mark.parametrize(
    ("label_map", "options", "error", "message"),
    [
        (np.zeros((2, 2, 2, 2), int), {}, ValueError, "must be .X, Y. or .X, Y, Z., got shape"),
        (np.zeros((2, 2, 2)), {}, TypeError, "must hold integers, got float64"),
        (np.ones((2, 2), int), {"connectivity": 3}, ValueError, r"connectivity must be from 1 .* to 2 .*, got 3"),
        (np.ones((2, 2), int), {"labels": [0]}, ValueError, "labels must be positive"),
        (np.ones((2, 2), int), {"labels": [[]]}, ValueError, "labels must be positive"),
    ],
)
def test_wrong_input_is_named(label_map, options, error, message):
    with pytest.raises(error, match=message):
        keep_largest_component(label_map, **options)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # The organ's smaller part goes, and of the tumour what is left is its largest component.
        ([[1, 2], [2]], [1, 1, 1, 1, 2, 0, 0, 0, 0]),
        # The tumour's larger component goes with the organ's smaller part only if the organ comes first.
        ([[2], [1, 2]], [1, 1, 1, 1, 0, 0, 0, 0, 0]),
    ],
)
def test_entries_see_what_the_ones_before_have_left(labels, expected):
    found = keep_largest_component(np.array([[1, 1, 1, 1, 2, 0, 1, 2, 2]], np.uint8), labels)
    assert found.tolist() == [expected]
