import nibabel as nib
import numpy as np
import pytest

from rankseg_med.report.study_view import view_study, view_volumes
from rankseg_med.studies import GridError


def write(path, voxels: np.ndarray, affine: np.ndarray) -> None:
    nib.Nifti1Image(voxels, affine).to_filename(path)


@pytest.fixture
def study(tmp_path):
    """Stored from left to right and head to foot, 10 mm voxels; one labelled voxel, brighter the further right."""
    affine = np.diag([-10.0, 10.0, -10.0, 1.0])
    labels = np.zeros((12, 10, 14), np.uint8)
    labels[4, 5, 6] = 2
    image = np.broadcast_to(100.0 * np.arange(12)[:, None, None], labels.shape).astype(np.float32)
    write(tmp_path / "labels.nii.gz", labels, affine)
    write(tmp_path / "image.nii.gz", image, affine)
    return tmp_path


def test_volumes_are_turned_and_cut_around_the_labels(study):
    view = view_study(study / "labels.nii.gz", study / "image.nii.gz")
    # 30 mm are three voxels on either side of the one.
    assert view.label_map.shape == (7, 7, 7)
    assert np.argwhere(view.label_map).tolist() == [[3, 3, 3]]
    # The stored voxel (4, 5, 6) lies at (-40, 50, -60) mm, whichever way the axes run.
    assert nib.affines.apply_affine(view.affine, [3, 3, 3]).tolist() == [-40, 50, -60]
    assert (np.diag(view.affine)[:3] == 10).all()
    # Upwards, the stored slice 6 of 14 is the eighth (index 7); the cut begins three slices below. To the right, 4 of
    # 12 is the eighth too.
    assert (view.first_voxel, view.whole_shape) == ((4, 2, 4), (12, 10, 14))
    assert view.spacing_mm == (10, 10, 10)
    assert view.labels == [2]


def test_the_image_is_kept_in_8_bits_between_its_ends(study):
    view = view_study(study / "labels.nii.gz", study / "image.nii.gz")
    low, high = view.grey_values
    shown = low + view.grey[:, 3, 3].astype(float) * (high - low) / 255
    # From the patient's left, stored at 7, to 1.
    np.testing.assert_allclose(shown, [700, 600, 500, 400, 300, 200, 100], atol=3)


def test_without_an_image_and_without_labels(study):
    write(study / "empty.nii.gz", np.zeros((12, 10, 14), np.uint8), np.diag([-10.0, 10.0, -10.0, 1.0]))
    view = view_study(study / "empty.nii.gz")
    assert (view.grey, view.label_map.shape, view.labels) == (None, (12, 10, 14), [])


def test_what_it_is_held_against_is_turned_alike_and_widens_the_cut(study):
    other = np.zeros((12, 10, 14), np.uint8)
    other[0, 0, 0] = 1
    view = view_study(study / "labels.nii.gz", others={"reference": other})
    (place,) = np.argwhere(view.others["reference"])
    assert nib.affines.apply_affine(view.affine, place).tolist() == [0, 0, 0]
    assert view.labels == [1, 2]


def test_an_image_on_another_grid_is_refused(study):
    write(study / "moved.nii.gz", np.zeros((12, 10, 14), np.float32), np.diag([-10.0, 10.0, -11.0, 1.0]))
    with pytest.raises(GridError, match="spacing"):
        view_study(study / "labels.nii.gz", study / "moved.nii.gz")


def test_the_window_is_that_of_the_labels(study):
    labels = np.zeros((12, 10, 14), np.uint8)
    labels[4:9] = 1
    write(study / "wide.nii.gz", labels, np.diag([-10.0, 10.0, -10.0, 1.0]))
    view = view_study(study / "wide.nii.gz", study / "image.nii.gz")
    # Labelled are 400 to 800, and as much again on either side is 0 to 1200; there is 100 to 1100.
    np.testing.assert_allclose(view.window, (100, 1100))


def test_volumes_that_are_there_already(study):
    labels, image = (nib.load(study / f"{name}.nii.gz") for name in ("labels", "image"))
    voxels = np.asarray(image.dataobj)
    view = view_volumes(np.asarray(labels.dataobj), labels.affine, voxels)
    read = view_study(study / "labels.nii.gz", study / "image.nii.gz")
    np.testing.assert_array_equal(view.label_map, read.label_map)
    np.testing.assert_array_equal(view.grey, read.grey)
    assert view.window == read.window
    with pytest.raises(ValueError, match=r"must have one shape, got \[\(12, 10, 14\), \(12, 10, 15\)\]"):
        view_volumes(np.asarray(labels.dataobj), labels.affine, np.pad(voxels, ((0, 0), (0, 0), (0, 1))))
