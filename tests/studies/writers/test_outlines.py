"""Outlines, filled again by the even-odd rule and by OpenCV as rt-utils has it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rankseg_med.studies.writers.outlines import outlines_of
from tests.studies.writers.filled_outlines import filled_even_odd

masks = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans())


def filled_by_opencv(outlines: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """What rt-utils finds: points rounded to whole voxels, borders among what is filled."""
    canvas = np.zeros(shape[::-1], np.uint8)
    cv2.fillPoly(canvas, [np.around(outline).astype(np.int32) for outline in outlines], 1)
    return canvas.T.astype(bool)


@given(masks)
@settings(max_examples=150, deadline=None)
def test_any_mask_comes_back(mask):
    outlines = outlines_of(mask)
    np.testing.assert_array_equal(filled_even_odd(outlines, mask.shape), mask)
    if outlines:
        np.testing.assert_array_equal(filled_by_opencv(outlines, mask.shape), mask)


def test_a_ring_is_one_outline_that_goes_in_and_out_by_the_same_way():
    mask = np.ones((7, 7), bool)
    mask[3, 3] = False
    (outline,) = outlines_of(mask)
    steps = np.diff(np.vstack([outline, outline[:1]]), axis=0)
    long = steps[np.hypot(*steps.T) > 1.5]
    assert len(long) == 2
    np.testing.assert_allclose(long[0], -long[1])


def test_rings_within_rings_and_parts_that_touch_at_corners():
    mask = np.zeros((15, 15), bool)
    for inset, value in enumerate([True, True, False, True, False, False, True]):
        mask[inset : 15 - inset, inset : 15 - inset] = value
    assert len(outlines_of(mask)) == 3
    assert len(outlines_of(np.eye(4, dtype=bool))) == 4


@pytest.mark.parametrize("shape", [(1, 1), (4, 9)])
def test_a_mask_that_fills_its_slice_is_outlined_beyond_it(shape):
    (outline,) = outlines_of(np.ones(shape, bool))
    np.testing.assert_allclose(outline.min(axis=0), (-0.4, -0.4))
    np.testing.assert_allclose(outline.max(axis=0), np.array(shape) - 0.6)


def test_nothing_has_no_outline():
    assert outlines_of(np.zeros((5, 5), bool)) == []
