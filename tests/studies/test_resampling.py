"""Expected values: places of voxels by hand."""

import nibabel as nib
import numpy as np

from rankseg_med.studies.resampling import resample_label_map


def save(path, voxels, affine):
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def test_the_same_grid_changes_nothing(tmp_path):
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    affine = np.array([[0, -2.0, 0, 5], [1.0, 0, 0, -3], [0, 0, 3.0, 1], [0, 0, 0, 1]])
    path = save(tmp_path / "a.nii.gz", voxels, affine)
    np.testing.assert_array_equal(resample_label_map(path, path), voxels)


def test_finer_flipped_and_larger_grids(tmp_path):
    source = save(tmp_path / "source.nii.gz", np.array([1, 2], np.uint8).reshape(2, 1, 1), np.diag([4.0, 1, 1, 1]))
    # From x = 7 mm down in steps of 2: voxel centres at 7, 5, 3, 1, -1, -3; 4 mm voxels reach from -2 to 6.
    affine = np.array([[-2.0, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    grid = save(tmp_path / "grid.nii.gz", np.zeros((6, 1, 1), np.uint8), affine)
    assert resample_label_map(source, grid).ravel().tolist() == [0, 2, 2, 1, 1, 0]
