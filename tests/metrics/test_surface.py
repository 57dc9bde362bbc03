import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from medpy.metric import binary as medpy
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from surface_distance import compute_robust_hausdorff, compute_surface_distances

from rankseg_med.metrics import surface_distances

SPACING_MM = (0.5, 2.0, 3.0)

non_empty_pairs = array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[arrays(bool, shape).filter(np.any)] * 2)
)


def box(shape, *ranges):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*limits) for limits in ranges)] = True
    return mask


def ball(shape, centre, radius):
    offsets = np.indices(shape) - np.reshape(centre, (-1, *[1] * len(shape)))
    return (offsets**2).sum(axis=0) <= radius**2


def reductions(distances):
    return [
        distances.hausdorff_mm(),
        distances.hausdorff_percentile_mm(95.0),
        distances.asd_prediction_to_reference_mm(),
        distances.asd_reference_to_prediction_mm(),
        distances.assd_mm(),
    ]


class TestByHand:
    def test_two_voxels_lie_apart_by_the_spacing_weighted_offset(self):
        prediction = box((9, 9, 9), (1, 2), (2, 3), (3, 4))
        reference = box((9, 9, 9), (5, 6), (4, 5), (4, 5))  # 4 * 0.5, 2 * 2 and 1 * 3 mm away
        distances = surface_distances(prediction, reference, SPACING_MM)
        assert reductions(distances) == pytest.approx([29**0.5] * 5)

    @pytest.mark.parametrize(("axis", "shift_mm"), [(0, 0.5), (1, 2.0), (2, 3.0)])
    def test_plate_shifted_along_its_normal_is_everywhere_one_step_away(self, axis, shift_mm):
        # A plate one voxel thick is all surface, and the other plate's nearest voxel is straight across.
        plates = [np.moveaxis(box((6, 7, 7), (start, start + 1), (0, 7), (0, 7)), 0, axis) for start in (2, 3)]
        assert reductions(surface_distances(*plates, SPACING_MM)) == pytest.approx([shift_mm] * 5)

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

    def test_cubes_shifted_by_two_voxels(self):
        # 3x3x3 cubes have 26 surface voxels each (all but the centre). 2 steps of 0.5 mm along x; the neighbours in y
        # and z are 2 and 3 mm off, so the nearest surface is always met along x:
        # x-layers of the prediction at 0, 1, 2 against layers at 2, 3, 4 (layer 3 lacks its centre).
        # Layer 0: 9 voxels 1.0 mm away. Layer 1: 8 voxels 0.5 mm away. Layer 2: 9 voxels on the other surface.
        prediction = box((6, 5, 5), (0, 3), (1, 4), (1, 4))
        reference = box((6, 5, 5), (2, 5), (1, 4), (1, 4))
        distances = surface_distances(prediction, reference, SPACING_MM)
        assert reductions(distances) == pytest.approx([1.0, 1.0] + [(9 * 1.0 + 8 * 0.5) / 26] * 3)

    def test_the_image_border_is_surface(self):
        # If the outside counted as foreground, a mask that fills the image would have no surface at all.
        full = np.ones((5, 5), dtype=bool)
        left = box((5, 5), (0, 1), (0, 5))
        distances = surface_distances(full, left, (1.0, 1.0))
        assert distances.prediction_to_reference_mm.size == 16  # the rim of a 5 x 5 square
        assert distances.hausdorff_mm() == 4


class TestOracles:
    """MONAI and MedPy take the same surface; the others only agree where their definitions coincide."""

    @pytest.fixture(params=[(18, 15, 12), (18, 15)], ids=["3-D", "2-D"])
    def pair(self, request):
        shape = request.param
        generator = np.random.default_rng(len(shape))
        noise = generator.random((2, *shape)) < 0.02
        first = ball(shape, [8, 6, 5][: len(shape)], 5) | noise[0]
        second = ball(shape, [9, 8, 6][: len(shape)], 4) | noise[1]
        first[0] = True  # reaches the border
        return first, second, SPACING_MM[: len(shape)]

    def test_monai(self, pair):
        prediction, reference, spacing_mm = pair
        distances = surface_distances(prediction, reference, spacing_mm)
        batch = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
        kwargs = {"include_background": True, "spacing": spacing_mm}
        assert reductions(distances) == pytest.approx(
            [
                compute_hausdorff_distance(*batch, **kwargs).item(),
                compute_hausdorff_distance(*batch, percentile=95, **kwargs).item(),
                compute_average_surface_distance(*batch, **kwargs).item(),
                compute_average_surface_distance(*batch[::-1], **kwargs).item(),
                compute_average_surface_distance(*batch, symmetric=True, **kwargs).item(),
            ],
            rel=1e-5,
        )

    def test_medpy(self, pair):
        prediction, reference, spacing_mm = pair
        distances = surface_distances(prediction, reference, spacing_mm)
        pooled = np.concatenate([distances.prediction_to_reference_mm, distances.reference_to_prediction_mm])
        assert distances.hausdorff_mm() == pytest.approx(medpy.hd(prediction, reference, spacing_mm))
        assert np.percentile(pooled, 95) == pytest.approx(medpy.hd95(prediction, reference, spacing_mm))
        assert distances.asd_prediction_to_reference_mm() == pytest.approx(
            medpy.asd(prediction, reference, spacing_mm), rel=1e-5
        )
        assert distances.asd_reference_to_prediction_mm() == pytest.approx(
            medpy.asd(reference, prediction, spacing_mm), rel=1e-5
        )
        assert distances.assd_mm() == pytest.approx(medpy.assd(prediction, reference, spacing_mm), rel=1e-5)

    def test_simpleitk_on_disjoint_boxes(self):
        # SimpleITK measures from every voxel of a mask to the other mask, not from surface to surface: when the masks
        # are disjoint and convex, the farthest voxel and the nearest one are both on a surface.
        prediction = box((20, 18, 16), (1, 4), (2, 5), (3, 9))
        reference = box((20, 18, 16), (9, 13), (4, 9), (1, 5))
        itk = SimpleITK.HausdorffDistanceImageFilter()
        images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, reference)]
        for image in images:
            image.SetSpacing(SPACING_MM[::-1])  # SimpleITK counts axes from the last
        itk.Execute(*images)
        distances = surface_distances(prediction, reference, SPACING_MM)
        assert distances.hausdorff_mm() == pytest.approx(itk.GetHausdorffDistance())

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_surface_distance_on_shifted_boxes(self):
        # surface-distance measures between voxel corners: the corners of equal boxes are as far apart as their voxels.
        prediction = box((20, 12, 12), (2, 8), (2, 8), (2, 8))
        reference = box((20, 12, 12), (7, 13), (2, 8), (2, 8))
        oracle = compute_robust_hausdorff(compute_surface_distances(reference, prediction, SPACING_MM), 100)
        assert surface_distances(prediction, reference, SPACING_MM).hausdorff_mm() == pytest.approx(oracle)


class TestProperties:
    @settings(deadline=None)
    @given(non_empty_pairs)
    def test_swapping_the_masks_swaps_the_directions(self, pair):
        spacing_mm = SPACING_MM[: pair[0].ndim]
        forward, backward = surface_distances(*pair, spacing_mm), surface_distances(*pair[::-1], spacing_mm)
        np.testing.assert_array_equal(forward.prediction_to_reference_mm, backward.reference_to_prediction_mm)
        assert forward.hausdorff_percentile_mm(95.0) == backward.hausdorff_percentile_mm(95.0)
        assert forward.assd_mm() == pytest.approx(backward.assd_mm())

    @settings(deadline=None)
    @given(non_empty_pairs)
    def test_order_of_the_reductions(self, pair):
        distances = surface_distances(*pair, SPACING_MM[: pair[0].ndim])
        assert distances.hausdorff_mm() >= distances.hausdorff_percentile_mm(95.0) >= 0
        assert distances.hausdorff_mm() >= distances.assd_mm() - 1e-9

    @settings(deadline=None)
    @given(non_empty_pairs)
    def test_identity_is_zero(self, pair):
        assert reductions(surface_distances(pair[0], pair[0], SPACING_MM[: pair[0].ndim])) == [0] * 5

    @settings(deadline=None)
    @given(non_empty_pairs, st.integers(0, 4), st.integers(0, 4))
    def test_translation_invariance(self, pair, before, after):
        spacing_mm = SPACING_MM[: pair[0].ndim]
        moved = [np.pad(mask, [(before, after)] * mask.ndim) for mask in pair]
        assert reductions(surface_distances(*moved, spacing_mm)) == reductions(surface_distances(*pair, spacing_mm))

    @settings(deadline=None)
    @given(non_empty_pairs, st.floats(0.1, 10))
    def test_scaling_the_spacing_scales_the_distances(self, pair, factor):
        spacing_mm = SPACING_MM[: pair[0].ndim]
        scaled = surface_distances(*pair, [factor * step for step in spacing_mm])
        expected = [factor * value for value in reductions(surface_distances(*pair, spacing_mm))]
        assert reductions(scaled) == pytest.approx(expected, rel=1e-5)

    @settings(deadline=None)
    @given(non_empty_pairs, st.randoms(use_true_random=False))
    def test_memory_layout_and_axis_order_do_not_matter(self, pair, random):
        order = random.sample(range(pair[0].ndim), pair[0].ndim)
        transposed = [mask.transpose(order) for mask in pair]  # neither C nor Fortran order, in general
        spacing_mm = SPACING_MM[: pair[0].ndim]
        assert reductions(surface_distances(*transposed, [spacing_mm[axis] for axis in order])) == pytest.approx(
            reductions(surface_distances(*pair, spacing_mm)), rel=1e-5
        )


class TestRejections:
    @pytest.mark.parametrize(
        ("prediction", "reference", "named"),
        [(0, 1, "prediction"), (1, 0, "reference"), (0, 0, "prediction and the reference")],
    )
    def test_empty_masks(self, prediction, reference, named):
        masks = [np.full((3, 3), value, dtype=bool) for value in (prediction, reference)]
        with pytest.raises(ValueError, match=f"the {named} has no voxel.*EmptyPolicy"):
            surface_distances(*masks, (1.0, 1.0))

    @pytest.mark.parametrize("spacing_mm", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan")), (1.0, float("inf"))])
    def test_spacing(self, spacing_mm):
        mask = np.ones((3, 3), dtype=bool)
        with pytest.raises(ValueError, match="spacing_mm"):
            surface_distances(mask, mask, spacing_mm)

    def test_shapes(self):
        with pytest.raises(ValueError, match=r"\(3, 3\).*\(3, 4\)"):
            surface_distances(np.ones((3, 3), dtype=bool), np.ones((3, 4), dtype=bool), (1.0, 1.0))

    @pytest.mark.parametrize("percentile", [-1.0, 101.0])
    def test_percentile(self, percentile):
        mask = np.ones((3, 3), dtype=bool)
        with pytest.raises(ValueError, match="percentile"):
            surface_distances(mask, mask, (1.0, 1.0)).hausdorff_percentile_mm(percentile)


def test_memory_follows_the_organ_not_the_image():
    shape = (512, 512, 600)
    prediction, reference = ball((60, 60, 60), (30, 30, 30), 25), ball((60, 60, 60), (33, 30, 30), 25)
    masks = []
    for small in (prediction, reference):
        large = np.zeros(shape, dtype=bool)
        large[200:260, 200:260, 300:360] = small
        masks.append(large)
    tracemalloc.start()
    distances = surface_distances(*masks, (0.8, 0.8, 1.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reductions(distances) == reductions(surface_distances(prediction, reference, (0.8, 0.8, 1.0)))
    assert peak < 1.1 * masks[0].nbytes  # the union of the masks is the only array of the image's size


@pytest.mark.real_data
def test_shifted_kidney_equals_oracles(shared_data):
    image = nib.load(shared_data / "kits19_labels" / "case_00064.nii.gz")
    kidney = np.asanyarray(image.dataobj) == 1
    spacing_mm = [float(step) for step in image.header.get_zooms()]
    shifted = np.roll(kidney, (2, -3, 1), axis=(0, 1, 2))

    distances = surface_distances(shifted, kidney, spacing_mm)

    occupied = [np.flatnonzero((kidney | shifted).any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    crop = tuple(slice(axis[0], axis[-1] + 1) for axis in occupied)
    batch = [torch.from_numpy(mask[crop].copy())[None, None] for mask in (shifted, kidney)]
    assert distances.hausdorff_mm() == pytest.approx(medpy.hd(shifted[crop], kidney[crop], spacing_mm), rel=1e-5)
    assert distances.hausdorff_percentile_mm(95.0) == pytest.approx(
        compute_hausdorff_distance(*batch, include_background=True, percentile=95, spacing=spacing_mm).item(), rel=1e-5
    )
    assert distances.asd_prediction_to_reference_mm() == pytest.approx(
        medpy.asd(shifted[crop], kidney[crop], spacing_mm), rel=1e-5
    )
