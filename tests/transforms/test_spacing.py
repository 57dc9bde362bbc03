"""AxisSpacing against MONAI's Spacing."""

import itertools
import pickle

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd, Spacing, Spacingd

from rankseg_med.transforms import AxisSpacing, AxisSpacingd

TURN = nib.eulerangles.euler2mat(0.2, -0.1, 0.15)


def volume_of(shape, spacing, turn=TURN, seed=0, channels=1) -> MetaTensor:
    values = torch.randn(channels, *shape, generator=torch.Generator().manual_seed(seed))
    return MetaTensor(values, affine=torch.from_numpy(nib.affines.from_matvec(turn @ np.diag(spacing), [40, -30, 12])))


def labels_of(shape, spacing) -> MetaTensor:
    volume = volume_of(shape, spacing)
    return MetaTensor((volume.as_tensor() > 0).byte(), affine=volume.affine)


# Of spacings that no affine's rounding can move over the middle between two sizes or two voxels.
spacings = st.tuples(*[st.sampled_from([0.713, 0.977, 1.0, 1.237, 2.511, 5.03])] * 3)
shapes = st.tuples(*[st.integers(1, 13)] * 3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(shape=shapes, spacing=spacings, pixdim=spacings, channels=st.integers(1, 2))
def test_images_are_monais(shape, spacing, pixdim, channels):
    volume = volume_of(shape, spacing, channels=channels)
    before = volume.clone()
    ours = AxisSpacing(pixdim)(volume)
    theirs = Spacing(pixdim, padding_mode="border", dtype=torch.float64)(volume)
    assert ours.shape == theirs.shape
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.affine, theirs.affine, atol=1e-9, rtol=0)
    assert torch.equal(volume, before)
    assert torch.equal(volume.affine, before.affine)
    assert volume.applied_operations == []


@settings(max_examples=40, deadline=None, derandomize=True)
@given(shape=shapes, spacing=spacings, pixdim=spacings)
def test_label_maps_are_monais_and_keep_their_dtype(shape, spacing, pixdim):
    labels = labels_of(shape, spacing)
    ours = AxisSpacing(pixdim, "nearest")(labels)
    theirs = Spacing(pixdim, mode="nearest", padding_mode="border", dtype=torch.float64)(labels)
    assert ours.dtype == torch.uint8
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_extents_midway_between_two_sizes_are_monais_along_the_axes(signs):
    for size, (spacing, pixdim) in itertools.product(range(1, 12), [(1.5, 1.0), (2.5, 1.0), (1.0, 2.0), (0.5, 2.0)]):
        volume = volume_of((size, 3, 4), (spacing, 1, 1), np.diag(signs))
        assert AxisSpacing(pixdim)(volume).shape == Spacing(pixdim)(volume).shape


def test_voxels_midway_between_two_take_the_even_one():
    labels = MetaTensor(torch.arange(7, dtype=torch.uint8)[None], affine=torch.diag(torch.tensor([2.0, 1, 1, 1])))
    assert AxisSpacing(1.0, "nearest")(labels)[0].tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 6, 6]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(shape=shapes, spacing=spacings, pixdim=spacings, nearest=st.booleans())
def test_invertd_undoes_it(shape, spacing, pixdim, nearest):
    """MONAI's Invertd on our transform gives what it gives on MONAI's own."""
    restored = []
    volume = volume_of(shape, spacing)
    for spacing_transform in (
        AxisSpacingd("image", pixdim),
        Spacingd("image", pixdim, padding_mode="border", dtype=torch.float64),
    ):
        forward = Compose([Orientationd("image", "RAS", labels=None), spacing_transform])
        data = forward({"image": volume})
        data["pred"] = MetaTensor(data["image"].as_tensor() > 0).float()
        restored.append(Invertd("pred", forward, orig_keys="image", nearest_interp=nearest)(data)["pred"])
    ours, theirs = restored
    assert ours.shape == theirs.shape == (1, *shape)
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.affine, volume.affine, atol=1e-9, rtol=0)
    assert ours.applied_operations == []


def test_label_maps_go_there_and_back_as_labels():
    labels = labels_of((9, 8, 7), (1, 1, 3))
    transform = AxisSpacing(1.0, "nearest")
    finer = transform(labels)
    assert finer.shape == (1, 9, 8, 19)
    restored = transform.inverse(finer)
    assert restored.dtype == torch.uint8
    np.testing.assert_array_equal(restored.numpy(), labels.numpy())


def test_a_tilted_gantry_keeps_its_tilt():
    """Values are linear in mm along each axis, so that resampling must find them at every place of the tilted grid."""
    affine = np.array([[0.8, 0, 0, 5], [0, 0.8, 1.1, -7], [0, 0, 3, 2], [0, 0, 0, 1]])
    voxels = np.indices((9, 8, 7)).reshape(3, -1)
    weights = np.array([0.3, -0.2, 0.5])
    values = weights @ (affine @ [*voxels, np.ones(voxels.shape[1])])[:3]
    volume = MetaTensor(torch.from_numpy(values.reshape(1, 9, 8, 7)), affine=torch.from_numpy(affine))
    resampled = AxisSpacing((1.6, 1.6, 1.5))(volume)
    directions = affine[:3, :3] / nib.affines.voxel_sizes(affine)
    np.testing.assert_allclose(resampled.affine.numpy()[:3, :3], directions * [1.6, 1.6, 1.5], atol=1e-12)
    places = np.indices(resampled.shape[1:]).reshape(3, -1)
    places_mm = resampled.affine.numpy() @ [*places, np.ones(places.shape[1])]
    # Where the size was rounded up, the last slices lie beyond the input, and its border goes on.
    inside = ((np.linalg.inv(affine) @ places_mm)[:3] <= np.array([[8], [7], [6]])).all(0)
    assert inside.mean() > 0.7
    np.testing.assert_allclose(resampled.numpy().ravel()[inside], (weights @ places_mm[:3])[inside], atol=1e-5)


def test_an_axis_of_its_spacing_already_and_one_not_named_stay():
    volume = volume_of((5, 6, 7), (0.8, 1.0004, 3))
    assert AxisSpacing((1.0, 1.0, -1))(volume).shape == (1, 4, 6, 7)
    same = AxisSpacing((0.8, 1, 3))(volume)
    assert torch.equal(same.as_tensor(), volume.as_tensor())
    assert torch.equal(same.affine, volume.affine)


def test_volumes_of_one_spacing_get_one_shape():
    image, label = volume_of((5, 5, 11), (1, 1, 0.5001)), volume_of((5, 5, 11), (1, 1, 0.4999))
    alone = [AxisSpacing(2.0)(volume).shape[-1] for volume in (image, label)]
    together = AxisSpacingd(["image", "label"], 2.0, ["bilinear", "nearest"])({"image": image, "label": label, "id": 3})
    assert alone == [4, 3]
    assert together["image"].shape == together["label"].shape == (1, 3, 3, 4)
    assert together["id"] == 3


def test_two_axes():
    plane = MetaTensor(torch.rand(2, 9, 7), affine=torch.diag(torch.tensor([0.7, 1.3, 1, 1], dtype=torch.float64)))
    ours = AxisSpacing(1.0)(plane)
    theirs = Spacing(1.0)(plane)
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.affine, theirs.affine)


def test_another_mode_is_an_error(wrong_types):
    with pytest.raises(ValueError, match="must be one of bilinear, nearest, got 3"):
        AxisSpacingd("image", 1.0, mode=3)


def test_without_metadata_is_an_error(wrong_types):
    with pytest.raises(TypeError, match="needs a MetaTensor with an affine, got Tensor"):
        AxisSpacing(1.0)(torch.rand(1, 4, 4, 4))
    with pytest.raises(TypeError, match="needs a MetaTensor with an affine, got Tensor"):
        AxisSpacingd("image", 1.0)({"image": torch.rand(1, 4, 4, 4)})


def test_can_be_pickled():
    transform = pickle.loads(pickle.dumps(AxisSpacingd("image", (1, 1, 1.5))))  # noqa: S301
    assert transform({"image": volume_of((4, 4, 4), (1, 1, 1), np.eye(3))})["image"].shape == (1, 4, 4, 3)
