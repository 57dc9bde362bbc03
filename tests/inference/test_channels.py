"""Studies of several images, and images of other formats, through the whole model."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd

from rankseg_med.decode import ArgmaxDecoder
from rankseg_med.inference import InferenceError, SegmentationModel, StreamingInferer
from rankseg_med.transforms import LoadStudyd
from tests.studies.dicom_files import write_series


class BrighterChannel(torch.nn.Module):
    """Logits are the channels: the label is the number of the brightest."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return windows


class Branches(torch.nn.Module):
    """Each image has a branch of its own."""

    def __init__(self):
        super().__init__()
        self.branches = torch.nn.ModuleList(torch.nn.Conv3d(1, 1, 1) for _ in range(2))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(windows[:, at : at + 1]) for at, branch in enumerate(self.branches)], 1)


@pytest.fixture
def model():
    preprocessing = Compose([LoadStudyd("image"), Orientationd("image", "RAS", labels=None)])
    inferer = StreamingInferer((4, 4, 4))
    return SegmentationModel(preprocessing, [BrighterChannel()], inferer, num_classes=2, decoder=ArgmaxDecoder())


def test_each_image_is_a_channel(model, tmp_path):
    voxels = np.random.default_rng(0).permutation(5 * 6 * 7 * 2).reshape(2, 5, 6, 7).astype(np.int16)
    paths = [tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"]
    for path, channel in zip(paths, voxels, strict=True):
        nib.Nifti1Image(channel, np.diag([-1.0, -1, 1, 1])).to_filename(path)
    np.testing.assert_array_equal(model(paths).label_map.numpy(), voxels.argmax(0))
    np.testing.assert_array_equal(model(tuple(paths[::-1])).label_map.numpy(), voxels[::-1].argmax(0))


@pytest.mark.parametrize("wrapped", [False, True])
def test_one_image_of_a_study_is_that_image(model, tmp_path, wrapped):
    voxels = np.random.default_rng(0).integers(0, 100, (5, 6, 7)).astype(np.int16)
    folder = write_series(tmp_path / "series", voxels)
    preprocessed = model.preprocess((folder,) if wrapped else folder)
    # DICOM's axes run to the left and back, so RAS turns both round.
    np.testing.assert_array_equal(preprocessed[0].numpy(), voxels[::-1, ::-1])


def test_a_network_may_share_the_channels_out(model, tmp_path):
    paths = [tmp_path / f"a_{channel}.nii.gz" for channel in range(2)]
    for path in paths:
        nib.Nifti1Image(np.ones((5, 6, 7), np.int16), np.eye(4)).to_filename(path)
    model = replace(model, networks=[Branches().eval()])
    assert model(paths).label_map.shape == (5, 6, 7)
    with pytest.raises(InferenceError, match="the network takes 1 input channels, the study gives 2"):
        replace(model, networks=[torch.nn.Conv3d(1, 2, 1)])(paths)
