"""DICOM-SEG read back; what is expected is worked out slice by slice from the series' own voxels."""

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch
from pydicom.sr.codedict import codes

from rankseg_med.studies import DicomSegFormat, StudyError, format_of, load_image
from tests.studies.dicom_scenes import DIRECTIONS, NAMES, labels_of, segmented, slices_of, with_uids, write_scene


def written(folder: Path, labels: np.ndarray, series: Path, seg_type="binary", names=NAMES) -> Path:
    path = folder / f"{seg_type}.dcm"
    probabilities = torch.from_numpy(np.stack([(labels == label).astype(np.float32) / 2 for label in names]))
    given = probabilities if seg_type == "fractional" else None
    DicomSegFormat(seg_type=seg_type).write(labels, path, grid_of=series, names=names, probabilities=given)
    return path


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize("kind", DIRECTIONS)
def test_it_lies_on_the_grid_of_the_series(tmp_path, kind, seg_type):
    series = write_scene(tmp_path / "series", kind)
    found = DicomSegFormat(seg_type=seg_type).read(
        written(tmp_path, segmented(series), series, seg_type), grid_of=series, names=NAMES
    )
    np.testing.assert_array_equal(found.affine, load_image(series).affine)
    np.testing.assert_array_equal(found[0].numpy(), segmented(series))


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_one_that_another_program_wrote(tmp_path, kind):
    """Slices from last to first, empty frames left out, segments in an order of their own."""
    series = write_scene(tmp_path / "series", kind)
    slices = sorted(slices_of(series).values(), key=lambda item: -item.InstanceNumber)
    labels = np.stack([labels_of(item) for item in slices])
    described = [
        hd.seg.SegmentDescription(
            *(number, name, codes.SCT.Organ, codes.SCT.Organ, "MANUAL"),
        )
        for number, name in enumerate(("tumour", "liver"), start=1)
    ]
    labels[2] = 0
    segmentation = hd.seg.Segmentation(
        *(slices, np.where(labels, 3 - labels, 0).astype(np.uint8), "BINARY", described),
        *(hd.UID(), 1, hd.UID(), 1, "somebody", "else", "1", "2"),
    )
    segmentation.save_as(tmp_path / "case.dcm")
    found = DicomSegFormat().read(tmp_path / "case.dcm", grid_of=series, names={1: "tumour", 2: "liver"})[0].numpy()
    wanted = segmented(series)
    (emptied,) = (k for k in range(wanted.shape[2]) if np.array_equal(wanted[:, :, k].T, labels_of(slices[2])))
    wanted[:, :, emptied] = 0
    np.testing.assert_array_equal(found, np.where(wanted, 3 - wanted, 0))


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_labels_with_gaps_and_structures_that_do_not_occur(tmp_path, seg_type):
    series = write_scene(tmp_path / "series")
    labels = np.zeros_like(segmented(series))
    names = {5: "liver", 10: "tumour"}
    format = DicomSegFormat(seg_type=seg_type)
    nothing = written(tmp_path, labels, series, seg_type, names)
    assert not format.read(nothing, grid_of=series, names=names).any()
    labels[3, 4, 5] = 10
    found = format.read(written(tmp_path, labels, series, seg_type, names), grid_of=series, names=names)
    assert np.argwhere(found[0].numpy()).tolist() == [[3, 4, 5]]
    assert found[0, 3, 4, 5] == 10
    # Where nobody knows the names, numbers of segments are the labels.
    alone = format.read(written(tmp_path, labels, series, seg_type, names), grid_of=series, names=None)
    assert alone[0, 3, 4, 5] == (2 if seg_type == "binary" else 10)


def test_probabilities(tmp_path):
    series = write_scene(tmp_path / "series")
    labels = segmented(series)
    path = written(tmp_path, labels, series, "fractional")
    assert format_of(path).needs_probabilities
    with pytest.raises(StudyError, match="holds probabilities in place of a label map"):
        format_of(path).read(path, grid_of=series, names=NAMES)
    found = format_of(path).read_probabilities(path, grid_of=series)
    wanted = np.stack([0.5 * (labels == 1), 0.5 * (labels == 2)])
    np.testing.assert_allclose(found.numpy(), wanted, atol=0.51 / 255)


def test_what_does_not_belong_together(tmp_path):
    series = write_scene(tmp_path / "series")
    path = written(tmp_path, segmented(series), series)
    other = write_scene(tmp_path / "other", uid="1.2.3.5")
    with pytest.raises(StudyError, match=r"of 9 slices that are not in .*other; name the series"):
        DicomSegFormat().read(path, grid_of=other, names=NAMES)
    with pytest.raises(StudyError, match=r"must have the structures .*got the segments \{1: 'liver', 2: 'tumour'\}"):
        DicomSegFormat().read(path, grid_of=series, names={1: "liver", 2: "cyst"})
    with pytest.raises(StudyError, match="must have the structures"):
        DicomSegFormat().read(path, grid_of=series, names={1: "liver"})


@pytest.mark.parametrize("bytes_left", [0, 100, 600, -300])
def test_a_damaged_file(tmp_path, bytes_left):
    series = write_scene(tmp_path / "series")
    path = written(tmp_path, segmented(series), series)
    path.write_bytes(path.read_bytes()[:bytes_left])
    with pytest.raises(StudyError, match=r"binary\.dcm: "):
        DicomSegFormat().read(path, grid_of=series, names=NAMES)


def test_a_header_that_lacks_something(tmp_path):
    series = write_scene(tmp_path / "series")
    path = written(tmp_path, segmented(series), series)
    segmentation = pydicom.dcmread(path)
    del segmentation.PerFrameFunctionalGroupsSequence
    segmentation.save_as(path)
    with pytest.raises(StudyError, match="cannot be read as a DICOM segmentation"):
        DicomSegFormat().read(path, grid_of=series, names=NAMES)


@pytest.mark.real_data
def test_a_real_series(tmp_path, shared_data):
    series = with_uids(shared_data / "ct" / "dicom_series", tmp_path / "series")
    labels = (load_image(series)[0].numpy() > 150).astype(np.uint8)
    path = written(tmp_path, labels, series, names={1: "bone"})
    found = DicomSegFormat().read(path, grid_of=series, names={1: "bone"})
    np.testing.assert_array_equal(found[0].numpy(), labels)
