import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from rankseg_med.masks import bounding_box, connected_components
from tests.metrics.shapes import SETTINGS, masks


class TestBoundingBox:
    @SETTINGS
    @given(masks(1, non_empty=False), st.sampled_from([bool, np.uint8, np.int16]), st.sampled_from("CF"))
    def test_equals_scipy(self, image, dtype, order):
        (expected,) = ndimage.find_objects(image[0].astype(int), max_label=1)
        found = bounding_box(np.array(3 * image[0], dtype=dtype, order=order))
        assert found == (expected or (slice(0, 0),) * image[0].ndim)

    @SETTINGS
    @given(masks(2, non_empty=False))
    def test_of_two_images_is_the_box_of_their_union(self, pair):
        assert bounding_box(*pair) == bounding_box(pair[0] | pair[1])

    def test_makes_no_copy_of_the_image(self):
        image = np.zeros((200, 200, 200), dtype=np.uint8)
        image[50:60, 70:90, 20:30] = 2
        tracemalloc.start()
        assert bounding_box(image, image.T) == (slice(20, 60), slice(70, 90), slice(20, 60))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak == pytest.approx(0, abs=0.01 * image.nbytes)


class TestConnectedComponents:
    @SETTINGS
    @given(masks(1, non_empty=False), st.sampled_from("CF"), st.integers(1, 3))
    def test_equals_scipy(self, mask, order, connectivity):
        (mask,) = mask
        connectivity = min(connectivity, mask.ndim)
        expected, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, connectivity))
        found = connected_components(np.array(mask, order=order), connectivity)
        assert found.max(initial=0) == count
        # The same components, whatever their numbers: as many pairs of numbers as there are components.
        assert len({pair for pair in zip(found.flat, expected.flat, strict=True) if any(pair)}) == count

    def test_neighbours_are_at_corners_too_unless_said_otherwise(self):
        corners = np.zeros((3, 3, 3), dtype=bool)
        corners[0, 0, 0] = corners[1, 1, 1] = corners[1, 1, 2] = True
        assert [connected_components(corners, connectivity).max() for connectivity in (1, 2, 3, None)] == [2, 2, 1, 1]

    @pytest.mark.parametrize(
        ("mask", "connectivity", "error", "message"),
        [
            (np.ones((2, 2), np.uint8), None, TypeError, "must be boolean, got dtype uint8"),
            (np.ones((1, 2, 2, 2), bool), None, ValueError, "2 or 3 spatial axes, got 4"),
            (np.ones((2, 2, 2), bool), 26, ValueError, "got 26; for 6 neighbours in 3-D pass 1, for 26 pass 3"),
        ],
    )
    @pytest.mark.usefixtures("wrong_types")
    def test_rejections(self, mask, connectivity, error, message):
        with pytest.raises(error, match=message):
            connected_components(mask, connectivity)
