import nibabel as nib
import numpy as np
import pytest

from rankseg_med.report.study_view import view_study

# Stored from left to right and head to foot, 10 mm voxels; brighter the further right.
AFFINE = np.diag([-10.0, 10.0, -10.0, 1.0])
SHAPE = (12, 10, 14)
IMAGE = np.broadcast_to(100.0 * np.arange(12)[:, None, None], SHAPE).astype(np.float32)


@pytest.fixture
def labels() -> np.ndarray:
    """One labelled voxel."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 5, 6] = 2
    return labels


def test_volumes_are_turned_and_cut_around_the_labels(labels):
    view = view_study(labels, AFFINE, IMAGE)
    # 30 mm are three voxels on either side of the one.
    assert view.label_map.shape == (7, 7, 7)
    assert np.argwhere(view.label_map).tolist() == [[3, 3, 3]]
    # The stored voxel (4, 5, 6) lies at (-40, 50, -60) mm, whichever way the axes run.
    assert nib.affines.apply_affine(view.affine, [3, 3, 3]).tolist() == [-40, 50, -60]
    assert (np.diag(view.affine)[:3] == 10).all()
    # Upwards, the stored slice 6 of 14 is the eighth (index 7); the cut begins three slices below.
    assert (view.first_voxel, view.whole_shape) == ((4, 2, 4), (12, 10, 14))
    assert view.spacing_mm == (10, 10, 10)
    assert view.labels == [2]


def test_the_image_is_kept_in_8_bits_between_its_ends(labels):
    view = view_study(labels, AFFINE, IMAGE)
    low, high = view.grey_values
    shown = low + view.grey[:, 3, 3].astype(float) * (high - low) / 255
    # From the patient's left, stored at 7, to 1.
    np.testing.assert_allclose(shown, [700, 600, 500, 400, 300, 200, 100], atol=3)


def test_without_an_image_and_without_labels():
    view = view_study(np.zeros(SHAPE, np.uint8), AFFINE)
    assert (view.grey, view.label_map.shape, view.labels) == (None, SHAPE, [])


def test_what_it_is_held_against_is_turned_alike_and_widens_the_cut(labels):
    other = np.zeros(SHAPE, np.uint8)
    other[0, 0, 0] = 1
    view = view_study(labels, AFFINE, others={"reference": other})
    (place,) = np.argwhere(view.others["reference"])
    assert nib.affines.apply_affine(view.affine, place).tolist() == [0, 0, 0]
    assert view.labels == [1, 2]


def test_ignored_voxels_are_background_and_the_label_map_stays(labels):
    labels[0, 0, 0] = 255
    assert view_study(labels, AFFINE, ignored_label=255).labels == [2]
    assert labels[0, 0, 0] == 255


@pytest.mark.usefixtures("wrong_types")
def test_volumes_of_another_shape_are_refused(labels):
    with pytest.raises(ValueError, match=r"image must have the label map's shape \(12, 10, 14\)"):
        view_study(labels, AFFINE, IMAGE[1:])
    with pytest.raises(ValueError, match="reference must have"):
        view_study(labels, AFFINE, others={"reference": labels[1:]})


def test_the_window_is_that_of_the_labels(labels):
    labels[:] = 0
    labels[4:9] = 1
    view = view_study(labels, AFFINE, IMAGE)
    # Labelled are 400 to 800, and as much again on either side is 0 to 1200; there is 100 to 1100.
    np.testing.assert_allclose(view.window, (100, 1100))
