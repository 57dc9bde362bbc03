import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surface_distance import lookup_tables

from rankseg_med.metrics.surfels import is_surfel, neighbourhood_codes, surfel_areas_mm2
from tests.metrics.shapes import SETTINGS, SPACING_MM, box, masks


def surface_area(mask, spacing_mm):
    codes = neighbourhood_codes(mask)
    return surfel_areas_mm2(spacing_mm)[codes[is_surfel(codes)]].sum()


class TestCodes:
    def test_one_voxel_by_hand(self):
        # The voxel is the last one of the neighbourhood before it and the first one of that behind it.
        codes = neighbourhood_codes(np.ones((1, 1), dtype=bool))
        np.testing.assert_array_equal(codes, [[8, 4], [2, 1]])
        codes = neighbourhood_codes(np.ones((1, 1, 1), dtype=bool))
        np.testing.assert_array_equal(codes, [[[128, 64], [32, 16]], [[8, 4], [2, 1]]])

    @SETTINGS
    @given(masks(1, non_empty=False))
    def test_neighbourhoods_with_both_are_surfels(self, image):
        (mask,) = image
        codes = neighbourhood_codes(mask)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (2,) * mask.ndim)
        voxels = windows.reshape(*codes.shape, -1)
        np.testing.assert_array_equal(is_surfel(codes), voxels.any(axis=-1) & ~voxels.all(axis=-1))


class TestAreas:
    @pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), SPACING_MM, (0.78, 0.79, 5.0)])
    def test_equal_those_of_surface_distance(self, spacing_mm):
        theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)
        codes = codes_in_their_bits(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL)
        np.testing.assert_allclose(surfel_areas_mm2(spacing_mm), theirs[codes], rtol=1e-12)

    def test_lengths_equal_those_of_surface_distance(self):
        theirs = lookup_tables.create_table_neighbour_code_to_contour_length((0.5, 2.0))
        codes = codes_in_their_bits(lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL)
        np.testing.assert_allclose(surfel_areas_mm2((0.5, 2.0)), theirs[codes], rtol=1e-12)

    @pytest.mark.parametrize("size", [(1, 1, 1), (4, 1, 2), (3, 4, 5)])
    def test_box_with_chamfered_edges(self, size):
        # Between the middles of voxels a box has flat faces; its edges are cut off at the middles of the faces, its
        # corners by triangles that together are an octahedron with half axes of half a spacing.
        faces = edges = 0.0
        for axis, (first, second) in enumerate([(1, 2), (0, 2), (0, 1)]):
            faces += 2 * math.prod((size[side] - 1) * SPACING_MM[side] for side in (first, second))
            length = (size[axis] - 1) * SPACING_MM[axis]
            edges += 4 * length * math.hypot(SPACING_MM[first], SPACING_MM[second]) / 2
        x, y, z = SPACING_MM
        octahedron = math.hypot(x * y, x * z, y * z)
        assert surface_area(np.ones(size, dtype=bool), SPACING_MM) == pytest.approx(faces + edges + octahedron)

    def test_contour_of_a_rectangle(self):
        # 3 x 4 pixels of 0.5 x 2 mm: sides of 2 and 3 steps, and four cut corners.
        expected = 2 * (2 * 0.5 + 3 * 2.0) + 4 * math.hypot(0.5, 2.0) / 2
        assert surface_area(box((6, 6), (1, 4), (2, 6)), (0.5, 2.0)) == pytest.approx(expected)

    def test_only_the_empty_and_the_full_code_have_no_area(self):
        for spacing_mm in (SPACING_MM, SPACING_MM[:2]):
            areas = surfel_areas_mm2(spacing_mm)
            assert areas[0] == areas[-1] == 0
            assert (areas[1:-1] > 0).all()

    @SETTINGS
    @given(masks(1), st.data())
    def test_flips_and_axis_order_change_no_area(self, image, data):
        (mask,) = image
        order = data.draw(st.permutations(range(mask.ndim)))
        flipped = data.draw(st.lists(st.sampled_from(range(mask.ndim)), unique=True))
        spacing_mm = SPACING_MM[: mask.ndim]
        moved = np.flip(mask, flipped).transpose(order)
        area = surface_area(moved, [spacing_mm[axis] for axis in order])
        assert area == pytest.approx(surface_area(mask, spacing_mm))


def codes_in_their_bits(kernel):
    """Our codes, from the first to the last, as surface-distance numbers them."""
    voxels = np.indices((2,) * kernel.size).reshape(kernel.size, -1)[::-1]
    return kernel.ravel() @ voxels
