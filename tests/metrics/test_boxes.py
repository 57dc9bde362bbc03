import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from rankseg_med.metrics.boxes import bounding_box, enclosing_box
from tests.metrics.shapes import SETTINGS, masks


@SETTINGS
@given(masks(1, non_empty=False), st.sampled_from([bool, np.uint8, np.int16]), st.sampled_from("CF"))
def test_equals_scipy(image, dtype, order):
    (expected,) = ndimage.find_objects(image[0].astype(int), max_label=1)
    assert bounding_box(np.array(3 * image[0], dtype=dtype, order=order)) == expected


@SETTINGS
@given(masks(2, non_empty=False))
def test_of_two_images_is_the_box_of_their_union(pair):
    assert bounding_box(*pair) == bounding_box(pair[0] | pair[1])


def test_enclosing_box():
    assert enclosing_box((slice(1, 3), slice(4, 5)), (slice(2, 7), slice(0, 2))) == (slice(1, 7), slice(0, 5))


def test_makes_no_copy_of_the_image():
    image = np.zeros((200, 200, 200), dtype=np.uint8)
    image[50:60, 70:90, 20:30] = 2
    tracemalloc.start()
    assert bounding_box(image, image.T) == (slice(20, 60), slice(70, 90), slice(20, 60))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak == pytest.approx(0, abs=0.01 * image.nbytes)
