import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from monai.transforms import Compose, CropForegroundd, Invertd, Lambdad, Orientationd, Spacingd

from rankseg_med.inference import InferenceError, ProbabilityModel
from rankseg_med.transforms import LoadStudyd

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.1, 0.15) @ np.diag([-1.2, 1.5, 2.5]), [40.0, -30.0, 12.0]
)


class IntensityNetwork(torch.nn.Module):
    """Logits that are a function of each voxel's intensity, so that anatomy follows intensity whatever the grid."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x), 4 * (x - 0.5), 4 * (x - 1.2)], 1)


class ConstantOutput(torch.nn.Module):
    def __init__(self, output) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor):
        return self.output(x)


def smooth_image(shape=(18, 16, 12), affine=OBLIQUE) -> nib.Nifti1Image:
    rng = np.random.default_rng(4)
    coarse = torch.from_numpy(rng.normal(size=(1, 1, 5, 5, 4)).astype(np.float32))
    values = torch.nn.functional.interpolate(coarse, shape, mode="trilinear", align_corners=True)[0, 0]
    return nib.Nifti1Image(values.numpy() + 0.5, affine)


def model_with(*transforms, network=None, num_classes=3) -> ProbabilityModel:
    preprocessing = Compose([LoadStudyd("image"), *transforms])
    return ProbabilityModel(preprocessing, network or IntensityNetwork(), SimpleInferer(), num_classes)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.nii.gz"
    nib.save(smooth_image(), path)
    return path


def test_no_resampling_is_softmax_of_the_network(image):
    probabilities = model_with()(image)
    voxels = torch.from_numpy(nib.load(image).get_fdata(dtype=np.float32))[None, None]
    torch.testing.assert_close(probabilities, IntensityNetwork()(voxels)[0].softmax(0), atol=1e-6, rtol=0)


def test_native_grid_agrees_with_monais_inverse(image):
    """MONAI's Invertd on all channels of the softmax is the truth."""
    transforms = (Orientationd("image", "RAS", labels=None), Spacingd("image", (2, 2, 2), padding_mode="border"))
    ours = model_with(*transforms)(image)
    preprocessing = Compose([LoadStudyd("image"), *transforms])
    data = preprocessing({"image": image})
    data["p"] = MetaTensor(IntensityNetwork()(data["image"].as_tensor()[None])[0].softmax(0))
    theirs = Invertd("p", preprocessing, orig_keys="image", nearest_interp=False)(data)["p"].as_tensor()
    assert ours.shape == (3, 18, 16, 12)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.sum(0), torch.ones(18, 16, 12), atol=1e-6, rtol=0)


def test_cropped_away_voxels_are_background(tmp_path):
    voxels = np.zeros((10, 9, 8), np.float32)
    voxels[3:7, 2:6, 1:5] = 1
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "image.nii.gz")
    probabilities = model_with(CropForegroundd("image", source_key="image"))(tmp_path / "image.nii.gz")
    assert (probabilities[0].numpy()[voxels == 0] == 1).all()
    inside = probabilities[:, 3:7, 2:6, 1:5]
    torch.testing.assert_close(inside, IntensityNetwork()(torch.ones(1, 1, 4, 4, 4))[0].softmax(0))


@pytest.mark.parametrize(
    "codes", ["".join(c) for p in itertools.permutations(("LR", "PA", "IS")) for c in itertools.product(*p)]
)
def test_anatomy_is_the_same_in_all_48_orientations(tmp_path, codes):
    canonical = nib.as_closest_canonical(smooth_image())
    nib.save(canonical, tmp_path / "canonical.nii.gz")
    to_codes = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(canonical.affine), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(canonical.as_reoriented(to_codes), tmp_path / "stored.nii.gz")
    transforms = (Orientationd("image", "RAS", labels=None), Spacingd("image", (2, 2, 2), padding_mode="border"))
    expected = model_with(*transforms)(tmp_path / "canonical.nii.gz")
    found = model_with(*transforms)(tmp_path / "stored.nii.gz")
    stored = nib.load(tmp_path / "stored.nii.gz")
    assert found.shape[1:] == stored.shape
    for ours, theirs in zip(found, expected, strict=True):
        back = nib.as_closest_canonical(nib.Nifti1Image(ours.numpy(), stored.affine))
        np.testing.assert_allclose(back.get_fdata(), theirs.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (ConstantOutput(lambda x: [x, x]), "must return one tensor of logits, found list; switch deep supervision off"),
        (ConstantOutput(lambda x: torch.cat([x, x], 1)), r"must return logits \(1, 3, 18, 16, 12\) for num_classes=3"),
        (ConstantOutput(lambda x: x.expand(-1, 3, -1, -1, -1) * torch.nan), "returned NaN or infinite logits"),
        (torch.nn.Conv3d(2, 3, 1), "takes 2 input channels, the study has 1"),
    ],
)
def test_what_a_network_does_wrong_is_named(image, network, message):
    with pytest.raises(InferenceError, match=message):
        model_with(network=network)(image)


def test_preprocessing_that_cannot_be_undone_is_an_error(image):
    with pytest.raises(InferenceError, match=r"could not be undone: the image is \(18, 16, 12\), .* \(9, 16, 12\)"):
        model_with(Lambdad("image", lambda x: x[:, ::2]))(image)
