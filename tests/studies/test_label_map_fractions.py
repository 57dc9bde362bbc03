"""Fractions on disk, as nibabel reads them."""

import nibabel as nib
import numpy as np
import pytest
import torch

from rankseg_med.studies import StudyError
from rankseg_med.studies.label_map import write_fractions

AFFINE = np.array([[0, -0.7, 0, 11], [0.7, 0, 0, -3.25], [0, 0, 2.5, 100], [0, 0, 0, 1]])


@pytest.fixture
def image(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), AFFINE), tmp_path / "image.nii.gz")
    return tmp_path / "image.nii.gz"


@pytest.mark.parametrize("channels", [(), (3,)])
def test_values_and_grid_come_back(image, tmp_path, channels):
    values = torch.rand((5, 4, 3, *channels), generator=torch.Generator().manual_seed(0))
    values.flatten()[:2] = torch.tensor([0.0, 1.0])
    write_fractions(values, tmp_path / "out" / "values.nii.gz", image)
    written = nib.load(tmp_path / "out" / "values.nii.gz")
    assert written.get_data_dtype() == np.uint16
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(written.get_fdata(), values.numpy(), atol=0.5 / 65535 + 1e-7)
    assert written.get_fdata().flat[0] == 0
    assert float(written.get_fdata().flat[1]) == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(5, 3, 4), r"must have the shape \(5, 4, 3\) of .*, got \(5, 3, 4\)"),
        (torch.full((5, 4, 3), 1.5), r"must lie in \[0, 1\], got 1.5 to 1.5"),
        (torch.full((5, 4, 3), torch.nan), r"must lie in \[0, 1\]"),
    ],
)
def test_what_is_refused(image, tmp_path, values, message):
    with pytest.raises(StudyError, match=message):
        write_fractions(values, tmp_path / "values.nii.gz", image)
    assert not (tmp_path / "values.nii.gz").exists()
