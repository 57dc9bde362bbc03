import nibabel as nib
import numpy as np
import pytest

from rankseg_med.studies import StudyError, open_image, read_grid
from tests.studies.dicom_files import write_series


@pytest.mark.parametrize("name", ["a.txt", "a.nii.bz2", "a.jpg", "a"])
def test_other_kinds_name_what_can_be_read(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(StudyError, match=rf"{name}: must be a file named \.nii\.gz, .*\.mhd, or a folder"):
        open_image(tmp_path / name)


def test_a_folder_named_as_a_file_is_a_folder(tmp_path):
    folder = write_series(tmp_path / "scan.nii", np.zeros((3, 4, 5), np.int16))
    assert read_grid(folder).shape == (3, 4, 5)


def test_a_grid_without_reading_voxels(tmp_path):
    affine = np.diag([-0.7, 0.8, 2.5, 1.0])
    nib.Nifti1Image(np.zeros((3, 4, 5, 1), np.int16), affine).to_filename(tmp_path / "a.nii")
    grid = read_grid(tmp_path / "a.nii")
    assert grid.shape == (3, 4, 5)
    np.testing.assert_allclose(grid.affine, affine)
    assert grid.spacing_mm == pytest.approx((0.7, 0.8, 2.5))


def test_blocks_are_the_volume_from_the_first_slice_to_the_last(tmp_path):
    voxels = np.arange(2 * 3 * 40, dtype=np.int16).reshape(2, 3, 40)
    nib.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.concatenate(list(open_image(tmp_path / "a.nii.gz").blocks()), axis=2), voxels)
