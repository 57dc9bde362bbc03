"""NativeGrid against MONAI's Invertd."""

import itertools
import weakref

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import (
    BorderPadd,
    CenterSpatialCropd,
    Compose,
    CropForegroundd,
    DivisiblePadd,
    Flipd,
    Invertd,
    Lambdad,
    NormalizeIntensityd,
    Orientationd,
    ResizeWithPadOrCropd,
    Rotate90d,
    Rotated,
    ScaleIntensityRanged,
    Spacingd,
    SpatialCropd,
    SpatialPadd,
)

from rankseg_med.inference import InferenceError
from rankseg_med.inference.native_grid import NativeGrid
from rankseg_med.inference.slab import Slab
from rankseg_med.transforms import AxisSpacingd

CODES = ["".join(c) for p in itertools.permutations(("LR", "PA", "IS")) for c in itertools.product(*p)]
SHAPE = (14, 12, 9)


def oblique(spacing=(0.83, 1.27, 2.61)) -> np.ndarray:
    turn = nib.eulerangles.euler2mat(0.2, -0.1, 0.15)
    return nib.affines.from_matvec(turn @ np.diag(spacing), [40.0, -30.0, 12.0])


def image_of(shape=SHAPE, affine=None, seed=0) -> MetaTensor:
    """Positive in a box only, so that its foreground can be cropped."""
    values = torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed)) + 0.5
    box = torch.zeros(shape)
    box[tuple(slice(n // 5, n - n // 4) for n in shape)] = 1
    affine = torch.from_numpy(oblique() if affine is None else affine)
    return MetaTensor(values * box, affine=affine, meta={"spatial_shape": np.array(shape)})


def stored_as(codes: str) -> MetaTensor:
    """An oblique image whose axes lie along the patient's in the given order."""
    image = nib.Nifti1Image(np.zeros(SHAPE), oblique())
    here = nib.orientations.io_orientation(image.affine)
    there = image.as_reoriented(nib.orientations.ornt_transform(here, nib.orientations.axcodes2ornt(codes)))
    assert "".join(nib.aff2axcodes(there.affine)) == codes
    return image_of(there.shape, there.affine)


def slabs_of(volume: torch.Tensor, axis: int, heights=(1, 4, 2)):
    start = 0
    for height in itertools.cycle(heights):
        stop = min(start + height, volume.shape[axis + 1])
        yield Slab(start, stop, volume.narrow(axis + 1, start, stop - start))
        if stop == volume.shape[axis + 1]:
            return
        start = stop


def carried(grid: NativeGrid, volume: torch.Tensor, axis: int) -> torch.Tensor:
    """The whole native volume, with the contract of its slabs checked."""
    native = grid.native_axis(axis)
    output = torch.full((len(volume), *grid.native_shape), torch.nan)
    for slab in grid.carry(slabs_of(volume, axis), axis):
        place = output.narrow(native + 1, slab.start, slab.stop - slab.start)
        assert place.shape == slab.probabilities.shape
        assert place.isnan().all(), "a slice came twice"
        place.copy_(slab.probabilities)
    return output


def inverted(volume: torch.Tensor, image: MetaTensor, forward: Compose, *, nearest: bool) -> torch.Tensor:
    """By MONAI."""
    invert = Invertd("p", forward, orig_keys="image", nearest_interp=nearest)
    return invert({"p": MetaTensor(volume), "image": image})["p"].as_tensor()


def check(forward: Compose, image: MetaTensor, axes=(0, 1, 2), tolerance=1e-6) -> None:
    preprocessed = forward({"image": image})["image"]
    before = preprocessed.clone()
    model_shape = tuple(preprocessed.shape[1:])
    probabilities = torch.rand(2, *model_shape, generator=torch.Generator().manual_seed(1))
    labels = torch.randint(0, 5, model_shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    grid = NativeGrid.of(preprocessed)
    assert (grid.model_shape, grid.native_shape) == (model_shape, tuple(image.shape[1:]))
    theirs = inverted(probabilities, preprocessed, forward, nearest=False)
    for axis in axes:
        torch.testing.assert_close(carried(grid, probabilities, axis), theirs, atol=tolerance, rtol=0)
    theirs = inverted(labels[None].float(), preprocessed, forward, nearest=True)[0]
    np.testing.assert_array_equal(grid.labels(labels).numpy(), theirs.numpy())
    assert torch.equal(preprocessed, before)
    assert len(preprocessed.applied_operations) == len(before.applied_operations)


def ras(pixdim=(1.1, 1.1, 1.7), **options) -> list:
    return [
        Orientationd("image", "RAS", labels=None),
        Spacingd("image", pixdim, **{"padding_mode": "border", "dtype": torch.float64, **options}),
    ]


@pytest.mark.parametrize("codes", CODES)
def test_all_48_orientations_with_spacing_and_crop(codes):
    crop = SpatialCropd("image", roi_start=(2, 1, 3), roi_end=(13, 11, 10))
    check(Compose([*ras(), crop]), stored_as(codes), axes=[CODES.index(codes) % 3])


@pytest.mark.parametrize(
    "transforms",
    [
        [Lambdad("image", lambda x: x + 1)],
        ras(),
        ras(padding_mode="zeros"),
        ras((0.8, 2.1, 0.91)),
        [Orientationd("image", "RAS", labels=None), AxisSpacingd("image", (1.1, 1.1, 1.7))],
        [*ras(), CropForegroundd("image", source_key="image")],
        [CropForegroundd("image", source_key="image", margin=3), *ras()],
        [*ras(), CropForegroundd("image", source_key="image", k_divisible=8)],
        [*ras(), CenterSpatialCropd("image", (7, 30, 5))],
        [*ras(), SpatialPadd("image", (20, 8, 24))],
        [*ras(), SpatialPadd("image", (20, 8, 24), method="end"), DivisiblePadd("image", 8)],
        [BorderPadd("image", (1, 0, 2)), *ras(), BorderPadd("image", (1, 2, 3, 0, 0, 4), mode="edge")],
        [*ras(), ResizeWithPadOrCropd("image", (12, 16, 7))],
        [Flipd("image", 1), *ras(), Flipd("image"), Flipd("image", (0, -1))],
        [*ras(), *ras((1.6, 0.9, 2.3))],
        [Spacingd("image", (1.3, 1.3, 1.3), dtype=torch.float64), Orientationd("image", "PIL", labels=None)],
        [
            *ras(),
            ScaleIntensityRanged("image", 0, 1, 0, 1),
            NormalizeIntensityd("image"),
            Lambdad("image", lambda x: 2 * x),
        ],
    ],
)
def test_whatever_keeps_axes_aligned_agrees_with_monai(transforms):
    check(Compose(transforms), image_of())


def test_agrees_with_monai_in_float32_at_the_size_of_a_scan():
    image = image_of((96, 80, 64))
    check_only = Compose(ras((1.5, 1.5, 2.0), dtype=torch.float32))
    preprocessed = check_only({"image": image})["image"]
    probabilities = torch.rand(1, *preprocessed.shape[1:])
    theirs = inverted(probabilities, preprocessed, check_only, nearest=False)
    torch.testing.assert_close(carried(NativeGrid.of(preprocessed), probabilities, 2), theirs, atol=1e-4, rtol=0)


spacings = st.tuples(*[st.floats(0.5, 4.0).map(lambda s: round(s, 3) + 0.0003)] * 3)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    spacing=spacings,
    pixdim=spacings,
    codes=st.sampled_from(CODES),
    roi=st.tuples(*[st.integers(1, 20)] * 3),
    ours=st.booleans(),
    axis=st.integers(0, 2),
)
def test_any_geometry_agrees_with_monai(shape, spacing, pixdim, codes, roi, ours, axis):
    spacing_transform = AxisSpacingd("image", pixdim) if ours else ras(pixdim)[1]
    crop_or_pad = ResizeWithPadOrCropd("image", roi)
    forward = Compose([Orientationd("image", codes, labels=None), spacing_transform, crop_or_pad])
    check(forward, image_of(shape, oblique(spacing)), axes=[axis], tolerance=2e-6)


def test_probabilities_are_carried_linearly_however_the_image_was_resampled():
    image = image_of()
    linear, cubic = (
        Compose(ras(mode=mode, padding_mode=padding)) for mode, padding in [("bilinear", "border"), (3, "nearest")]
    )
    preprocessed = {
        name: forward({"image": image})["image"] for name, forward in [("linear", linear), ("cubic", cubic)]
    }
    probabilities = torch.rand(2, *preprocessed["linear"].shape[1:])
    theirs = inverted(probabilities, preprocessed["linear"], linear, nearest=False)
    ours = carried(NativeGrid.of(preprocessed["cubic"]), probabilities, 0)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_a_tilted_gantry_goes_there_and_back():
    """Linear interpolation gives back a volume that is linear along each axis."""
    affine = np.array([[0.8, 0, 0, 5], [0, 0.8, 1.1, -7], [0, 0, 3, 2], [0, 0, 0, 1]])
    image = image_of(affine=affine)
    image.copy_(torch.from_numpy(np.indices(SHAPE).sum(0)))
    preprocessed = Compose([Orientationd("image", "LPI", labels=None), AxisSpacingd("image", (0.8, 0.4, 1.2))])
    preprocessed = preprocessed({"image": image})["image"]
    restored = carried(NativeGrid.of(preprocessed), preprocessed.as_tensor(), 2)
    # But for the outermost slices, which may lie half a voxel beyond the preprocessed grid.
    inside = (slice(None), *[slice(1, -1)] * 3)
    torch.testing.assert_close(restored[inside], image.as_tensor()[inside], atol=1e-4, rtol=0)


class TestStreaming:
    def test_one_grid_costs_nothing(self):
        grid = NativeGrid.of(image_of())
        given = list(slabs_of(torch.rand(2, *SHAPE), 1))
        assert all(a is b for a, b in zip(grid.carry(given, 1), given, strict=True))
        labels = torch.zeros(SHAPE, dtype=torch.uint8)
        assert grid.labels(labels) is labels

    @pytest.mark.parametrize("flip", [False, True])
    def test_holds_a_few_slices_and_hands_them_on_in_order(self, flip, monkeypatch):
        monkeypatch.setattr("rankseg_med.inference.native_grid._SLAB_VALUES", 3 * 8 * 9)
        turn = [Flipd("image", 2)] if flip else []
        forward = Compose([*turn, Spacingd("image", (1, 1, 0.7))])
        preprocessed = forward({"image": image_of((8, 9, 40), np.eye(4))})["image"]
        given, most_alive = [], 0

        def slices():
            nonlocal most_alive
            for number in range(preprocessed.shape[3]):
                values = preprocessed.as_tensor()[..., number : number + 1].clone()
                given.append(weakref.ref(values))
                most_alive = max(most_alive, sum(slab() is not None for slab in given))
                yield Slab(number, number + 1, values)

        slabs = []
        for slab in NativeGrid.of(preprocessed).carry(slices(), 2):
            assert slab.stop - slab.start <= 3
            slabs.append(slab.start)
        assert slabs == sorted(slabs, reverse=flip)
        assert len(given) == 57
        assert most_alive <= 8

    def test_too_few_slices_are_an_error(self):
        preprocessed = Compose(ras())({"image": image_of()})["image"]
        slabs = list(slabs_of(torch.rand(2, *preprocessed.shape[1:]), 0))[:-1]
        with pytest.raises(ValueError, match=r"must have \d+ slices, got \d+"):
            list(NativeGrid.of(preprocessed).carry(slabs, 0))

    def test_a_box_with_nothing_beyond_is_zero(self):
        crop = Compose([SpatialCropd("image", roi_start=(5, 2, 3), roi_end=(9, 8, 6))])
        grid = NativeGrid.of(crop({"image": image_of()})["image"])
        output = carried(grid, torch.ones(2, 4, 6, 3), 0)
        assert output[:, 5:9, 2:8, 3:6].eq(1).all()
        assert output.sum() == 2 * 4 * 6 * 3

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_runs_where_the_slabs_are(self):
        preprocessed = Compose([*ras(), CropForegroundd("image", source_key="image")])({"image": image_of()})["image"]
        grid = NativeGrid.of(preprocessed)
        probabilities = torch.rand(2, *preprocessed.shape[1:])
        expected = carried(grid, probabilities, 1)
        slabs = list(grid.carry(slabs_of(probabilities.cuda(), 1), 1))
        assert all(slab.probabilities.is_cuda for slab in slabs)
        found = torch.cat(
            [slab.probabilities for slab in sorted(slabs, key=lambda s: s.start)], grid.native_axis(1) + 1
        )
        torch.testing.assert_close(found.cpu(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([Rotated("image", 0.1)], "because of Rotate; supported are Orientation, Spacing and AxisSpacing, Flip, crops"),
        ([Rotate90d("image")], "because of Rotate90; supported are"),
        ([*ras(padding_mode="reflection")], "SpatialResample must have a padding_mode of border, .*, got reflection"),
        (
            [Lambdad("image", lambda x: x[:, ::2])],
            r"the image is \(14, 12, 9\), probabilities came back as \(7, 12, 9\)",
        ),
        ([*ras(), Lambdad("image", lambda x: x[:, ::2])], r"SpatialResample made a volume .* \(14, 12, 9\), but \("),
        (
            [SpatialCropd("image", roi_start=(1, 1, 1), roi_end=(9, 9, 9)), lambda d: {"image": d["image"][..., 2:]}],
            r"SpatialCrop recorded a volume \(14, 12, 9\), its inverse gives \(14, 12, 7\)",
        ),
    ],
)
def test_what_cannot_be_undone_is_named(transforms, message):
    preprocessed = Compose(transforms)({"image": image_of()})["image"]
    with pytest.raises(InferenceError, match=message):
        NativeGrid.of(preprocessed)


def test_shear_that_monais_spacing_removes_is_named():
    affine = np.array([[0.8, 0, 0, 5], [0, 0.8, 1.1, -7], [0, 0, 3, 2], [0, 0, 0, 1]])
    preprocessed = Compose([Spacingd("image", (1, 1, 1))])({"image": image_of(affine=affine)})["image"]
    with pytest.raises(
        InferenceError, match=r"because of SpatialResample: the axes of both grids must be parallel.*AxisSpacingd"
    ):
        NativeGrid.of(preprocessed)
