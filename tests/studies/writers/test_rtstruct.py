"""RT structure sets, filled again on SimpleITK's grid, and read by rt-utils."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from rt_utils import RTStructBuilder
from scipy.ndimage import gaussian_filter

from rankseg_med.studies import RtstructFormat, load_image
from tests.studies.dicom_scenes import (
    DIRECTIONS,
    FRAME,
    NAMES,
    TILTED,
    Truth,
    labels_of,
    segmented,
    slices_of,
    with_uids,
    write_scene,
)
from tests.studies.writers.filled_outlines import filled_even_odd


def written(tmp_path: Path, labels: np.ndarray, series: Path, names=NAMES) -> pydicom.Dataset:
    RtstructFormat().write(labels, tmp_path / "case.dcm", grid_of=series, names=names)
    return pydicom.dcmread(tmp_path / "case.dcm")


def contours(dataset: pydicom.Dataset):
    """Number of the region, points and the UID of the slice of each contour."""
    for region in dataset.ROIContourSequence:
        for contour in region.get("ContourSequence", []):
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            points = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            assert len(points) == contour.NumberOfContourPoints
            (image,) = contour.ContourImageSequence
            yield region.ReferencedROINumber, points, image.ReferencedSOPInstanceUID


@pytest.mark.parametrize("kind", [kind for kind in DIRECTIONS if kind != TILTED])
def test_every_voxel_lies_at_its_place_in_the_patient(tmp_path, kind):
    series = write_scene(tmp_path / "series", kind)
    dataset = written(tmp_path, segmented(series), series)
    truth = Truth(series)
    found = np.zeros_like(truth.labels)
    for number, points, _ in contours(dataset):
        index = truth.index_of(points)
        # One of the axes is that of the slices, in every series' own order.
        z = index[:, 2]
        np.testing.assert_allclose(z, round(z[0]), atol=1e-3)
        found[:, :, round(z[0])] += filled_even_odd([index[:, :2]], found.shape[:2]).astype(np.uint8) * np.uint8(number)
    np.testing.assert_array_equal(found, truth.labels)


def test_of_a_tilted_gantry_every_outline_lies_in_its_slice(tmp_path):
    series = write_scene(tmp_path / "series", TILTED)
    slices = slices_of(series)
    found = {uid: np.zeros((item.Columns, item.Rows), np.uint8) for uid, item in slices.items()}
    for number, points, uid in contours(written(tmp_path, segmented(series), series)):
        x, y, z = (points - np.array(slices[uid].ImagePositionPatient, float)).T
        np.testing.assert_allclose(z, 0, atol=1e-3)
        down_mm, across_mm = map(float, slices[uid].PixelSpacing)
        outline = np.stack([x / across_mm, y / down_mm], axis=1)
        found[uid] += filled_even_odd([outline], found[uid].shape).astype(np.uint8) * np.uint8(number)
    for uid, item in slices.items():
        np.testing.assert_array_equal(found[uid].T, labels_of(item))


# rt-utils takes the distance between rows for that between columns, and so for pixels and slices that are no squares.
@pytest.mark.parametrize("kind", [kind for kind in DIRECTIONS if kind != TILTED])
def test_rt_utils_reads_it(tmp_path, kind):
    series = write_scene(tmp_path / "series", kind, shape=(16, 16, 5), spacing_mm=(0.8, 0.8))
    labels = segmented(series)
    written(tmp_path, labels, series)
    struct = RTStructBuilder.create_from(dicom_series_path=str(series), rt_struct_path=str(tmp_path / "case.dcm"))
    assert struct.get_roi_names() == ["liver", "tumour"]
    for label, name in NAMES.items():
        mask = struct.get_roi_mask_by_name(name).transpose(1, 0, 2)
        by_uid = {item.SOPInstanceUID: mask[:, :, k].T for k, item in enumerate(struct.series_data)}
        for uid, item in slices_of(series).items():
            np.testing.assert_array_equal(by_uid[uid], labels_of(item) == label)


def test_holes_and_several_parts_a_slice(tmp_path):
    series = write_scene(tmp_path / "series", shape=(16, 16, 3), spacing_mm=(0.8, 0.8))
    labels = np.zeros((16, 16, 3), np.uint8)
    labels[2:9, 2:9, 1] = 1
    labels[4:7, 4:7, 1] = 0
    labels[5, 5, 1] = 2
    labels[12:14, 3:14, 1] = 1
    dataset = written(tmp_path, labels, series)
    # A ring, with what it holds beyond, and a bar; the tumour within the ring.
    assert [number for number, *_ in contours(dataset)] == [1, 1, 2]
    struct = RTStructBuilder.create_from(dicom_series_path=str(series), rt_struct_path=str(tmp_path / "case.dcm"))
    for label, name in NAMES.items():
        np.testing.assert_array_equal(struct.get_roi_mask_by_name(name).transpose(1, 0, 2), labels == label)


def test_it_belongs_to_the_patient_and_the_series(tmp_path):
    series = write_scene(tmp_path / "series", t0010_0010="Doe^Jane", t0010_0020="P-7")
    dataset = written(tmp_path, segmented(series), series)
    assert (dataset.PatientName, dataset.PatientID, dataset.Modality) == ("Doe^Jane", "P-7", "RTSTRUCT")
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == FRAME
    (study,) = frame.RTReferencedStudySequence
    (referred,) = study.RTReferencedSeriesSequence
    assert (study.ReferencedSOPInstanceUID, referred.SeriesInstanceUID) == ("1.2.3", "1.2.3.4")
    assert {item.ReferencedSOPInstanceUID for item in referred.ContourImageSequence} == slices_of(series).keys()
    assert dataset.StudyInstanceUID == "1.2.3"
    assert dataset.SeriesInstanceUID != "1.2.3.4"


def test_regions_say_what_they_are_also_where_they_do_not_occur(tmp_path):
    series = write_scene(tmp_path / "series")
    dataset = written(tmp_path, np.zeros_like(segmented(series)), series)
    assert [item.ROIName for item in dataset.StructureSetROISequence] == ["liver", "tumour"]
    codes = [item.RTROIIdentificationCodeSequence[0].CodeValue for item in dataset.RTROIObservationsSequence]
    assert codes == ["10200004", "108369006"]
    assert list(contours(dataset)) == []
    assert [len(item.ROIDisplayColor) for item in dataset.ROIContourSequence] == [3, 3]


def test_an_outline_of_very_many_points(tmp_path):
    series = write_scene(tmp_path / "series", shape=(150, 150, 4), spacing_mm=(0.8, 0.8))
    labels = np.zeros((150, 150, 4), np.uint8)
    # A comb: more than 64 KB of coordinates in one outline.
    labels[::2, :, 1] = 1
    labels[:, 0, 1] = 1
    ((_, points, _),) = contours(written(tmp_path, labels, series))
    assert len(points) * 3 * len("10.0000") > 2**16
    struct = RTStructBuilder.create_from(dicom_series_path=str(series), rt_struct_path=str(tmp_path / "case.dcm"))
    np.testing.assert_array_equal(struct.get_roi_mask_by_name("liver").transpose(1, 0, 2), labels == 1)


@pytest.mark.slow
@pytest.mark.real_data
def test_a_real_series(tmp_path, shared_data):
    series = with_uids(shared_data / "ct" / "dicom_series", tmp_path / "series")
    # Smooth, as structures are: a threshold of noise has thousands of outlines.
    image = gaussian_filter(load_image(series)[0].numpy(), (3, 3, 0))
    labels = (image > -300).astype(np.uint8) + (image > 150)
    written(tmp_path, labels, series)
    struct = RTStructBuilder.create_from(dicom_series_path=str(series), rt_struct_path=str(tmp_path / "case.dcm"))
    heights = [float(item.ImagePositionPatient[2]) for item in struct.series_data]
    assert heights == sorted(heights)
    for label, name in NAMES.items():
        np.testing.assert_array_equal(struct.get_roi_mask_by_name(name).transpose(1, 0, 2), labels == label)
