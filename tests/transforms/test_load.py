import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd

from rankseg_med.studies import GridError
from rankseg_med.transforms import LoadStudyd
from tests.studies.dicom_files import write_series

VOXELS = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(np.int16)


@pytest.fixture
def channels(tmp_path):
    paths = [tmp_path / f"a_000{number}.nii.gz" for number in range(2)]
    for number, path in enumerate(paths):
        nib.Nifti1Image(VOXELS + 1000 * number, np.diag([-1.0, 1, 1, 1])).to_filename(path)
    return paths


@pytest.mark.parametrize("kind", [tuple, list, lambda paths: list(map(str, paths))])
def test_several_images_become_channels(channels, kind):
    image = LoadStudyd("image")({"image": kind(channels)})["image"]
    np.testing.assert_array_equal(image.numpy(), np.stack([VOXELS, VOXELS + 1000]))


def test_transforms_move_channels_together(channels):
    data = Compose([LoadStudyd("image"), Orientationd("image", "RAS", labels=None)])({"image": channels})
    assert torch.equal(data["image"][1].as_tensor(), data["image"][0].as_tensor() + 1000)
    np.testing.assert_array_equal(data["image"][0].numpy(), VOXELS[::-1])


def test_one_grid(channels):
    nib.Nifti1Image(VOXELS, np.eye(4)).to_filename(channels[1])
    with pytest.raises(GridError, match=r"a_0000.*a_0001"):
        LoadStudyd("image")({"image": channels})


def test_a_dicom_folder(tmp_path):
    folder = write_series(tmp_path / "series", VOXELS)
    np.testing.assert_array_equal(LoadStudyd("image")({"image": folder})["image"][0].numpy(), VOXELS)


def test_a_study_has_one_label_map(channels):
    with pytest.raises(ValueError, match="one label map"):
        LoadStudyd("label", is_label=True)({"label": channels})
