import math
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given
from hypothesis import strategies as st
from medpy.metric import binary as medpy
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage
from surface_distance import (
    compute_average_surface_distance as deepmind_average,
)
from surface_distance import (
    compute_robust_hausdorff as deepmind_hausdorff,
)
from surface_distance import (
    compute_surface_dice_at_tolerance as deepmind_surface_dice,
)
from surface_distance import (
    compute_surface_distances as deepmind_distances,
)

from rankseg_med.metrics import surface_distances
from tests.metrics.shapes import SETTINGS, SPACING_MM, ball, box, masks, noisy_balls

pytestmark = pytest.mark.filterwarnings("ignore:Please (use|import):DeprecationWarning")  # surface-distance of SciPy

SURFACES = ("voxels", "voxels18", "surfels")
TOLERANCE_MM = 1.5


def reductions(distances):
    return [
        distances.hausdorff_mm(),
        distances.hausdorff_percentile_mm(95.0),
        distances.asd_prediction_to_reference_mm(),
        distances.asd_reference_to_prediction_mm(),
        distances.assd_mm(),
        distances.rmsd_mm(),
    ]


class TestByHand:
    @pytest.mark.parametrize("surface", SURFACES)
    def test_two_voxels_lie_apart_by_the_spacing_weighted_offset(self, surface):
        prediction = box((9, 9, 9), (1, 2), (2, 3), (3, 4))
        reference = box((9, 9, 9), (5, 6), (4, 5), (4, 5))  # 4 * 0.5, 2 * 2 and 1 * 3 mm away
        distances = surface_distances(prediction, reference, SPACING_MM, surface)
        # Of surfels only the farthest corners are that far: the nearest ones are a voxel less apart along each axis.
        farthest, nearest = 29**0.5, (1.5**2 + 2**2) ** 0.5
        if surface == "surfels":
            assert distances.hausdorff_mm() == pytest.approx(farthest)
            assert distances.prediction_to_reference_mm.min() == pytest.approx(nearest)
        else:
            assert reductions(distances) == pytest.approx([farthest] * 6)

    @pytest.mark.parametrize(("axis", "shift_mm"), [(0, 0.5), (1, 2.0), (2, 3.0)])
    @pytest.mark.parametrize("surface", ["voxels", "voxels18"])
    def test_plate_shifted_along_its_normal_is_everywhere_one_step_away(self, axis, shift_mm, surface):
        # A plate one voxel thick is all surface, and the other plate's nearest voxel is straight across.
        plates = [np.moveaxis(box((6, 7, 7), (start, start + 1), (0, 7), (0, 7)), 0, axis) for start in (2, 3)]
        distances = surface_distances(*plates, SPACING_MM, surface)
        assert reductions(distances) == pytest.approx([shift_mm] * 6)
        assert distances.surface_dice(shift_mm) == 1
        assert distances.surface_dice(0.99 * shift_mm) == 0

    def test_the_directions_differ(self):
        # A line of 11 voxels 2 mm apart against its first voxel: distances 0, 2, ..., 20 one way and 0 the other.
        line = box((3, 11), (1, 2), (0, 11))
        end = box((3, 11), (1, 2), (0, 1))
        distances = surface_distances(line, end, (1.0, 2.0))
        assert distances.hausdorff_mm() == 20
        assert distances.hausdorff_percentile_mm(95.0) == pytest.approx(19)  # rank 9.5 of 0..10: between 18 and 20
        assert distances.asd_prediction_to_reference_mm() == 10
        assert distances.asd_reference_to_prediction_mm() == 0
        assert distances.assd_mm() == pytest.approx(110 / 12)
        assert distances.rmsd_mm() == pytest.approx(math.sqrt(4 * 385 / 12))  # 385 is the sum of the squares to 10
        assert distances.surface_dice(4.0) == pytest.approx(4 / 12)  # 0, 2 and 4 mm one way, 0 the other

    def test_cubes_shifted_by_two_voxels(self):
        # 3x3x3 cubes have 26 surface voxels each (all but the centre). 2 steps of 0.5 mm along x; the neighbours in y
        # and z are 2 and 3 mm off, so the nearest surface is always met along x:
        # x-layers of the prediction at 0, 1, 2 against layers at 2, 3, 4 (layer 3 lacks its centre).
        # Layer 0: 9 voxels 1.0 mm away. Layer 1: 8 voxels 0.5 mm away. Layer 2: 9 voxels on the other surface.
        prediction = box((6, 5, 5), (0, 3), (1, 4), (1, 4))
        reference = box((6, 5, 5), (2, 5), (1, 4), (1, 4))
        distances = surface_distances(prediction, reference, SPACING_MM)
        mean, mean_square = (9 * 1.0 + 8 * 0.5) / 26, (9 * 1.0 + 8 * 0.25) / 26
        assert reductions(distances) == pytest.approx([1.0, 1.0, mean, mean, mean, math.sqrt(mean_square)])
        assert distances.surface_dice(0.5) == pytest.approx(17 / 26)
        assert distances.surface_dice(0.0) == pytest.approx(9 / 26)

    def test_neighbours_across_edges_make_the_surface_of_lits_thicker(self):
        # A 5 x 5 square without one corner: the voxel inside of that corner has a neighbour outside across the corner.
        square = box((7, 7), (1, 6), (1, 6))
        square[1, 1] = False
        sizes = [surface_distances(square, square, (1.0, 1.0), surface).prediction_weights.size for surface in SURFACES]
        assert sizes[:2] == [15, 16]

    def test_squares_as_surfels(self):
        # Pixels of 1 x 2 mm, squares of 2 x 2 of them, one column apart. Of each contour the corners of pixels at its
        # four corners are cut, half a diagonal (h) long, the middles of its sides are straight, 1 or 2 mm long, and the
        # corner in the middle has no contour. So along the columns (2 mm) the 3 x 3 corners of the prediction lie at
        # columns 0, 1, 2 against 1, 2, 3 of the reference, whose middle one has only rows 0 and 2:
        # column 0: h, 1, h at 2 mm; column 1: 2 and 2 at 0 mm; column 2: h and h at 0 mm, 1 at 1 mm (a row away).
        prediction, reference = box((2, 3), (0, 2), (0, 2)), box((2, 3), (0, 2), (1, 3))
        distances = surface_distances(prediction, reference, (1.0, 2.0), "surfels")
        h = math.sqrt(5) / 2
        total = 4 * h + 6
        mean = ((2 * h + 1) * 2 + 1) / total
        assert distances.hausdorff_mm() == 2
        assert distances.asd_prediction_to_reference_mm() == pytest.approx(mean)
        assert distances.assd_mm() == pytest.approx(mean)
        assert distances.rmsd_mm() == pytest.approx(math.sqrt(((2 * h + 1) * 4 + 1) / total))
        assert distances.surface_dice(0.0) == pytest.approx((2 * h + 4) / total)
        assert distances.surface_dice(1.0) == pytest.approx((2 * h + 5) / total)
        assert distances.hausdorff_percentile_mm(0.0) == 0
        within_one = 100 * (2 * h + 5) / total
        assert distances.hausdorff_percentile_mm(within_one - 1e-6) == 1
        assert distances.hausdorff_percentile_mm(within_one + 1e-6) == 2

    def test_half_of_the_surfels_is_half_of_the_area(self):
        # The contour of a row of five pixels has 2 * 6 corners, six of them within 2 of the first pixel's.
        row, first = box((1, 5), (0, 1), (0, 5)), box((1, 5), (0, 1), (0, 1))
        distances = surface_distances(row, first, (1.0, 1.0), "surfels")
        lengths = np.array([2 * math.hypot(0.5, 0.5), 2, 2, 2, 2, 2 * math.hypot(0.5, 0.5)])  # at columns 0 to 5
        mm = np.array([0, 0, 1, 2, 3, 4])
        assert distances.asd_prediction_to_reference_mm() == pytest.approx((lengths * mm).sum() / lengths.sum())
        assert distances.hausdorff_percentile_mm(50.0) == 1  # columns 0 to 2 are exactly half

    @pytest.mark.parametrize("surface", SURFACES)
    def test_the_image_border_is_surface(self, surface):
        # If the outside counted as foreground, a mask that fills the image would have no surface at all.
        full = np.ones((5, 5), dtype=bool)
        left = box((5, 5), (0, 1), (0, 5))
        distances = surface_distances(full, left, (1.0, 1.0), surface)
        assert distances.prediction_to_reference_mm.size == (20 if surface == "surfels" else 16)
        assert distances.hausdorff_mm() == 4

    @pytest.mark.parametrize("step_mm", [0.1, 0.3, 0.7, 1.1])
    def test_a_distance_that_equals_the_tolerance_is_within_it(self, step_mm):
        # 3 * 0.1 is more than 0.3 in double precision, and 0.1 in single precision is more than 0.1.
        plates = [box((9, 3), (start, start + 1), (0, 3)) for start in (1, 4)]
        assert surface_distances(*plates, (step_mm, 1.0)).surface_dice(round(3 * step_mm, 1)) == 1


class TestOracles:
    """Other implementations, where their definitions coincide with ours (see the docstring of the module)."""

    @pytest.fixture(params=[(18, 15, 12), (18, 15)], ids=["3-D", "2-D"])
    def pair(self, request):
        return *noisy_balls(request.param), SPACING_MM[: len(request.param)]

    def test_monai(self, pair):
        assert_equals_monai(*pair)

    def test_medpy(self, pair):
        assert_equals_medpy(*pair)

    def test_simpleitk(self, pair):
        assert_equals_simpleitk(*pair)

    def test_surface_distance(self, pair):
        assert_equals_surface_distance(*pair)

    def test_monai_with_subvoxels(self, pair):
        prediction, reference, spacing_mm = pair
        batch = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
        theirs = compute_surface_dice(
            *batch, class_thresholds=[TOLERANCE_MM], include_background=True, spacing=spacing_mm, use_subvoxels=True
        )
        ours = surface_distances(prediction, reference, spacing_mm, "surfels").surface_dice(TOLERANCE_MM)
        assert ours == pytest.approx(theirs.item(), rel=1e-5)

    def test_simpleitk_as_it_is_on_disjoint_boxes(self):
        # SimpleITK measures from every voxel of a mask to the other mask, not from surface to surface: when the masks
        # are disjoint and convex, the farthest voxel and the nearest one are both on a surface.
        prediction = box((20, 18, 16), (1, 4), (2, 5), (3, 9))
        reference = box((20, 18, 16), (9, 13), (4, 9), (1, 5))
        itk = SimpleITK.HausdorffDistanceImageFilter()
        itk.Execute(itk_image(prediction, SPACING_MM), itk_image(reference, SPACING_MM))
        distances = surface_distances(prediction, reference, SPACING_MM)
        assert distances.hausdorff_mm() == pytest.approx(itk.GetHausdorffDistance())

    @SETTINGS
    @given(masks(2))
    def test_surface_distance_on_any_masks(self, pair):
        assert_equals_surface_distance(*pair, SPACING_MM[: pair[0].ndim])


def assert_equals_monai(prediction, reference, spacing_mm):
    distances = surface_distances(prediction, reference, spacing_mm)
    batch = [torch.from_numpy(mask.copy())[None, None] for mask in (prediction, reference)]
    kwargs = {"include_background": True, "spacing": spacing_mm}
    assert reductions(distances)[:5] == pytest.approx(
        [
            compute_hausdorff_distance(*batch, **kwargs).item(),
            compute_hausdorff_distance(*batch, percentile=95, **kwargs).item(),
            compute_average_surface_distance(*batch, **kwargs).item(),
            compute_average_surface_distance(*batch[::-1], **kwargs).item(),
            compute_average_surface_distance(*batch, symmetric=True, **kwargs).item(),
        ],
        rel=1e-5,
    )
    theirs = compute_surface_dice(*batch, class_thresholds=[TOLERANCE_MM], **kwargs)
    assert distances.surface_dice(TOLERANCE_MM) == pytest.approx(theirs.item(), rel=1e-5)


def assert_equals_medpy(prediction, reference, spacing_mm):
    for surface, connectivity in (("voxels", 1), ("voxels18", 2)):
        distances = surface_distances(prediction, reference, spacing_mm, surface)
        options = {"voxelspacing": spacing_mm, "connectivity": connectivity}
        assert distances.hausdorff_mm() == pytest.approx(medpy.hd(prediction, reference, **options))
        pooled = distances.hausdorff_pooled_percentile_mm(95)
        assert pooled == pytest.approx(medpy.hd95(prediction, reference, **options))
        assert reductions(distances)[2:5] == pytest.approx(
            [
                medpy.asd(prediction, reference, **options),
                medpy.asd(reference, prediction, **options),
                medpy.assd(prediction, reference, **options),
            ]
        )


def assert_equals_simpleitk(prediction, reference, spacing_mm):
    """Everything from SimpleITK's contours and distance maps; its Hausdorff filter, handed the contours, agrees too."""
    contours = [itk_contour(mask, spacing_mm) for mask in (prediction, reference)]
    forward, backward = (itk_distances(*contours), itk_distances(*contours[::-1]))
    pooled = np.concatenate([forward, backward])
    distances = surface_distances(prediction, reference, spacing_mm)
    assert reductions(distances) == pytest.approx(
        [
            pooled.max(),
            max(np.percentile(forward, 95), np.percentile(backward, 95)),
            forward.mean(),
            backward.mean(),
            pooled.mean(),
            math.sqrt((pooled**2).mean()),
        ],
        rel=1e-5,
    )
    assert distances.surface_dice(TOLERANCE_MM) == pytest.approx((pooled <= TOLERANCE_MM).mean())
    itk = SimpleITK.HausdorffDistanceImageFilter()
    itk.Execute(*contours)
    assert distances.hausdorff_mm() == pytest.approx(itk.GetHausdorffDistance(), rel=1e-5)
    # Its average is that of the two directed averages, not of both directions pooled.
    assert sum(reductions(distances)[2:4]) / 2 == pytest.approx(itk.GetAverageHausdorffDistance(), rel=1e-5)


def itk_image(mask, spacing_mm):
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(step) for step in reversed(spacing_mm)])  # SimpleITK counts axes from the last
    return image


def itk_contour(mask, spacing_mm):
    # SimpleITK does not take the image border for a contour.
    padded = itk_image(np.pad(mask, 1), spacing_mm)
    return SimpleITK.LabelContour(padded, fullyConnected=False)


def itk_distances(contour, other):
    distance_map = SimpleITK.SignedMaurerDistanceMap(other, squaredDistance=False, useImageSpacing=True)
    on_contour = SimpleITK.GetArrayFromImage(contour).astype(bool)
    return np.abs(SimpleITK.GetArrayFromImage(distance_map))[on_contour].astype(float)


def assert_equals_surface_distance(prediction, reference, spacing_mm):
    distances = surface_distances(prediction, reference, spacing_mm, "surfels")
    theirs = deepmind_distances(reference, prediction, spacing_mm)
    # Where a share of the area is exactly a percentile, as 50 % often is, theirs depends on the rounding of its sums.
    for percentile in (50.3, 95.1, 100.0):
        expected = deepmind_hausdorff(theirs, percentile)
        assert distances.hausdorff_percentile_mm(percentile) == pytest.approx(expected, rel=1e-6)
    reference_to_prediction, prediction_to_reference = deepmind_average(theirs)
    assert distances.asd_prediction_to_reference_mm() == pytest.approx(prediction_to_reference, rel=1e-6)
    assert distances.asd_reference_to_prediction_mm() == pytest.approx(reference_to_prediction, rel=1e-6)
    expected = deepmind_surface_dice(theirs, TOLERANCE_MM)
    assert distances.surface_dice(TOLERANCE_MM) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("surface", SURFACES)
class TestProperties:
    @SETTINGS
    @given(pair=masks(2))
    def test_swapping_the_masks_swaps_the_directions(self, surface, pair):
        spacing_mm = SPACING_MM[: pair[0].ndim]
        forward = surface_distances(*pair, spacing_mm, surface)
        backward = surface_distances(*pair[::-1], spacing_mm, surface)
        np.testing.assert_array_equal(forward.prediction_to_reference_mm, backward.reference_to_prediction_mm)
        assert forward.hausdorff_percentile_mm(95.0) == backward.hausdorff_percentile_mm(95.0)
        assert forward.assd_mm() == pytest.approx(backward.assd_mm())
        assert forward.rmsd_mm() == pytest.approx(backward.rmsd_mm())
        assert forward.surface_dice(TOLERANCE_MM) == pytest.approx(backward.surface_dice(TOLERANCE_MM))

    @SETTINGS
    @given(pair=masks(2))
    def test_order_of_the_reductions(self, surface, pair):
        distances = surface_distances(*pair, SPACING_MM[: pair[0].ndim], surface)
        assert distances.hausdorff_mm() == distances.hausdorff_percentile_mm(100.0)
        assert distances.hausdorff_mm() >= distances.hausdorff_percentile_mm(95.0) >= 0
        assert distances.hausdorff_mm() >= distances.rmsd_mm() - 1e-9
        assert distances.rmsd_mm() >= distances.assd_mm() - 1e-9
        assert 0 <= distances.surface_dice(1.0) <= distances.surface_dice(2.0)
        assert distances.surface_dice(distances.hausdorff_mm()) == 1

    @SETTINGS
    @given(image=masks(1))
    def test_identity_is_zero(self, surface, image):
        distances = surface_distances(image[0], image[0], SPACING_MM[: image[0].ndim], surface)
        assert reductions(distances) == [0] * 6
        assert distances.surface_dice(0.0) == 1

    @SETTINGS
    @given(three=masks(3))
    def test_triangle_inequality_of_the_hausdorff_distance(self, surface, three):
        spacing_mm = SPACING_MM[: three[0].ndim]
        first, second, third = three

        def hausdorff_mm(*pair):
            return surface_distances(*pair, spacing_mm, surface).hausdorff_mm()

        assert hausdorff_mm(first, third) <= hausdorff_mm(first, second) + hausdorff_mm(second, third) + 1e-5

    @SETTINGS
    @given(pair=masks(2), before=st.integers(0, 4), after=st.integers(0, 4))
    def test_padding_changes_nothing(self, surface, pair, before, after):
        spacing_mm = SPACING_MM[: pair[0].ndim]
        padded = [np.pad(mask, [(before, after)] * mask.ndim) for mask in pair]
        expected = surface_distances(*pair, spacing_mm, surface)
        distances = surface_distances(*padded, spacing_mm, surface)
        assert reductions(distances) == reductions(expected)
        assert distances.surface_dice(TOLERANCE_MM) == expected.surface_dice(TOLERANCE_MM)

    @SETTINGS
    @given(pair=masks(2), factor=st.floats(0.1, 10))
    def test_scaling_the_spacing_scales_the_distances(self, surface, pair, factor):
        spacing_mm = SPACING_MM[: pair[0].ndim]
        distances = surface_distances(*pair, [factor * step for step in spacing_mm], surface)
        expected = surface_distances(*pair, spacing_mm, surface)
        assert reductions(distances) == pytest.approx([factor * mm for mm in reductions(expected)], rel=1e-5)
        assert distances.surface_dice(factor * TOLERANCE_MM) == pytest.approx(expected.surface_dice(TOLERANCE_MM))

    @SETTINGS
    @given(pair=masks(2), data=st.data())
    def test_flips_axis_order_and_memory_layout_do_not_matter(self, surface, pair, data):
        ndim = pair[0].ndim
        order = data.draw(st.permutations(range(ndim)))
        flipped = data.draw(st.lists(st.sampled_from(range(ndim)), unique=True))
        moved = [np.flip(mask, flipped).transpose(order) for mask in pair]  # neither C nor Fortran order, in general
        distances = surface_distances(*moved, [SPACING_MM[axis] for axis in order], surface)
        expected = surface_distances(*pair, SPACING_MM[:ndim], surface)
        assert reductions(distances) == pytest.approx(reductions(expected), rel=1e-5)
        assert distances.surface_dice(TOLERANCE_MM) == pytest.approx(expected.surface_dice(TOLERANCE_MM))


class TestRejections:
    @pytest.mark.parametrize(
        ("prediction", "reference", "named"),
        [(0, 1, "prediction"), (1, 0, "reference"), (0, 0, "prediction and the reference")],
    )
    def test_empty_masks(self, prediction, reference, named):
        pair = [np.full((3, 3), value, dtype=bool) for value in (prediction, reference)]
        with pytest.raises(ValueError, match=f"the {named} has no voxel.*EmptyPolicy"):
            surface_distances(*pair, (1.0, 1.0))

    @pytest.mark.parametrize("spacing_mm", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan")), (1.0, float("inf"))])
    def test_spacing(self, spacing_mm):
        mask = np.ones((3, 3), dtype=bool)
        with pytest.raises(ValueError, match="spacing_mm"):
            surface_distances(mask, mask, spacing_mm)

    def test_shapes(self):
        with pytest.raises(ValueError, match=r"\(3, 3\).*\(3, 4\)"):
            surface_distances(np.ones((3, 3), dtype=bool), np.ones((3, 4), dtype=bool), (1.0, 1.0))

    @pytest.mark.usefixtures("wrong_types")
    def test_surface(self):
        mask = np.ones((3, 3), dtype=bool)
        with pytest.raises(ValueError, match=r"voxels, voxels18, surfels.*'mesh'"):
            surface_distances(mask, mask, (1.0, 1.0), "mesh")

    @pytest.mark.parametrize("percentile", [-1.0, 101.0])
    def test_percentile(self, percentile):
        mask = np.ones((3, 3), dtype=bool)
        with pytest.raises(ValueError, match="percentile"):
            surface_distances(mask, mask, (1.0, 1.0)).hausdorff_percentile_mm(percentile)

    @pytest.mark.parametrize("tolerance_mm", [-1.0, float("nan"), float("inf")])
    def test_tolerance(self, tolerance_mm):
        mask = np.ones((3, 3), dtype=bool)
        with pytest.raises(ValueError, match="tolerance_mm"):
            surface_distances(mask, mask, (1.0, 1.0)).surface_dice(tolerance_mm)


@pytest.mark.parametrize("surface", SURFACES)
def test_memory_follows_the_organ_not_the_image(surface):
    small = ball((40, 40, 40), (20, 20, 20), 15), ball((40, 40, 40), (23, 20, 20), 15)
    large = np.zeros((2, 300, 300, 300), dtype=bool)
    large[:, 200:240, 100:140, 220:260] = small
    tracemalloc.start()
    distances = surface_distances(*large, (0.8, 0.8, 1.0), surface)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reductions(distances) == reductions(surface_distances(*small, (0.8, 0.8, 1.0), surface))
    assert peak < 0.1 * large[0].nbytes


@pytest.mark.real_data
@pytest.mark.parametrize("change", ["shifted", pytest.param("eroded", marks=pytest.mark.slow)])
def test_kidneys_and_their_copies_equal_oracles(shared_data, change):
    image = nib.load(shared_data / "kits19_labels" / "case_00064.nii.gz")
    kidneys = np.asanyarray(image.dataobj) > 0
    spacing_mm = [float(step) for step in image.header.get_zooms()]
    copy = np.roll(kidneys, (2, -3, 1), axis=(0, 1, 2)) if change == "shifted" else ndimage.binary_erosion(kidneys)
    # The oracles need minutes for the whole image.
    occupied = [np.flatnonzero((kidneys | copy).any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    crop = tuple(slice(axis[0], axis[-1] + 1) for axis in occupied)
    pair = copy[crop], kidneys[crop]
    for surface in SURFACES:
        whole = surface_distances(copy, kidneys, spacing_mm, surface)
        assert reductions(whole) == reductions(surface_distances(*pair, spacing_mm, surface))
    assert_equals_monai(*pair, spacing_mm)
    assert_equals_medpy(*pair, spacing_mm)
    assert_equals_simpleitk(*pair, spacing_mm)
    assert_equals_surface_distance(*pair, spacing_mm)
