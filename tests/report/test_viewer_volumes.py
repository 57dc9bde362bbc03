import base64
import gzip

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.report.study_view import StudyView
from rankseg_med.report.viewer_volumes import viewer_volumes

AFFINE = np.array([[2.0, 0, 0, -50], [0, 2, 0, 20], [0, 0, 5, 7], [0, 0, 0, 1]])


def view(labels: np.ndarray, grey: np.ndarray | None, **others: np.ndarray) -> StudyView:
    return StudyView(labels, AFFINE, (0, 0, 0), labels.shape, grey, (-1000.0, 530.0), (-100.0, 300.0), others)


def unpacked(volume: dict) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(volume["base64"])))


def test_volumes_come_back_on_their_grid_and_in_their_units():
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[1:3, 2, 3] = 2
    grey = np.arange(120, dtype=np.uint8).reshape(6, 5, 4)
    made = viewer_volumes(view(labels, grey, reference=labels * 0), {1: "organ", 2: "tumour"})
    assert [(v["name"], v["labels"]) for v in made["volumes"]] == [
        ("image", False),
        ("label map", True),
        ("reference", True),
    ]
    image, label_map, reference = map(unpacked, made["volumes"])
    for volume in (image, label_map, reference):
        np.testing.assert_allclose(volume.affine, AFFINE)
    # 1530 units over 255 levels are six a level.
    np.testing.assert_allclose(image.get_fdata(), -1000 + 6.0 * grey, atol=1e-3)
    np.testing.assert_array_equal(label_map.dataobj, labels)
    assert not np.asarray(reference.dataobj).any()


def test_the_largest_lesion_and_the_volumes():
    labels = np.zeros((20, 5, 4), np.uint8)
    labels[1, 1, 1] = 2
    labels[10:13, 2, 3] = 2
    organ, tumour = viewer_volumes(view(labels, None), {1: "organ", 2: "tumour"})["classes"]
    # 20 cubic millimetres a voxel.
    assert (organ["name"], organ["volume_ml"], organ["lesion"]) == ("organ", 0, None)
    assert tumour["volume_ml"] == pytest.approx(0.08)
    assert tumour["lesion"] == {"mm": [-50 + 2 * 11, 20 + 2 * 2, 7 + 5 * 3], "volume_ml": pytest.approx(0.06)}


def test_the_middle_of_a_ring_is_on_the_ring():
    labels = np.zeros((9, 9, 1), np.uint8)
    labels[1:8, 1:8] = 1
    labels[2:7, 2:7] = 0
    (ring,) = viewer_volumes(view(labels, None), {})["classes"]
    x, y, _ = ring["lesion"]["mm"]
    assert labels[round((x + 50) / 2), round((y - 20) / 2), 0] == 1
    assert ring["name"] == "label 1"


def test_too_many_voxels_are_thinned_and_that_is_said():
    labels = np.zeros((300, 300, 100), np.uint8)
    labels[10, 10, 10] = 1
    made = viewer_volumes(view(labels, labels), {})
    image = unpacked(made["volumes"][0])
    # The finest axes first; 9 million voxels become at most 3.
    assert image.shape == (150, 150, 100)
    np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine), (4, 4, 5))
    assert "1 of 2 x 2 x 1 voxels" in made["note"]
    # What is counted is counted before.
    assert made["classes"][0]["volume_ml"] == pytest.approx(0.02)
    assert "voxels is shown" not in viewer_volumes(view(labels[:20, :20, :20], None), {})["note"]
