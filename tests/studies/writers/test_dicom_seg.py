"""DICOM-SEG, read back frame by frame as dcmqi does, by places with SimpleITK, and by highdicom."""

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch

from rankseg_med.studies import DicomSegFormat, StudyError, load_image, read_grid, read_structures
from rankseg_med.studies.readers.dicom_source import SourceSeries
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

UPRIGHT = [kind for kind in DIRECTIONS if kind != TILTED]
LPS_TO_RAS = np.diag([-1, -1, 1, 1])


def written(tmp_path: Path, labels: np.ndarray, series: Path, names=NAMES, **settings) -> pydicom.Dataset:
    path = tmp_path / "case.dcm"
    DicomSegFormat(**settings).write(labels, path, grid_of=series, names=names)
    return pydicom.dcmread(path)


def frames(segmentation: pydicom.Dataset):
    """Of each frame its pixels as labels, its position and orientation, and the slice that it says it is of."""
    pixels = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    (orientation,) = segmentation.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    groups = segmentation.PerFrameFunctionalGroupsSequence
    assert len(pixels) == len(groups) == segmentation.NumberOfFrames
    for frame, group in zip(pixels, groups, strict=True):
        if segmentation.SegmentationType == "BINARY":
            # Of a single segment it is said once for all frames.
            said = group if "SegmentIdentificationSequence" in group else segmentation.SharedFunctionalGroupsSequence[0]
            frame = frame * np.uint8(said.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        directions = np.reshape(orientation.ImageOrientationPatient, (2, 3)).astype(float)
        yield frame, position, directions, source.ReferencedSOPInstanceUID


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize("kind", DIRECTIONS)
def test_every_voxel_lies_on_its_slice(tmp_path, kind, seg_type):
    series = write_scene(tmp_path / "series", kind)
    segmentation = written(tmp_path, segmented(series), series, seg_type=seg_type)
    slices = slices_of(series)
    found = {uid: np.zeros((item.Rows, item.Columns), np.uint8) for uid, item in slices.items()}
    for frame, position, directions, uid in frames(segmentation):
        np.testing.assert_allclose(position, slices[uid].ImagePositionPatient, atol=1e-6)
        np.testing.assert_allclose(directions.ravel(), slices[uid].ImageOrientationPatient, atol=1e-6)
        found[uid] += frame
    for uid, item in slices.items():
        np.testing.assert_array_equal(found[uid], labels_of(item))


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize("kind", UPRIGHT)
def test_every_voxel_lies_at_its_place_in_the_patient(tmp_path, kind, seg_type):
    series = write_scene(tmp_path / "series", kind)
    segmentation = written(tmp_path, segmented(series), series, seg_type=seg_type)
    truth = Truth(series)
    (measures,) = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    down_mm, across_mm = map(float, measures.PixelSpacing)
    assert float(measures.SpacingBetweenSlices) == pytest.approx(2.5)
    found = np.zeros_like(truth.labels)
    for frame, position, directions, _ in frames(segmentation):
        rows, columns = np.nonzero(frame)
        places = position + columns[:, None] * across_mm * directions[0] + rows[:, None] * down_mm * directions[1]
        index = truth.index_of(places)
        np.testing.assert_allclose(index, index.round(), atol=1e-3)
        found[tuple(index.round().astype(int).T)] = frame[rows, columns]
    np.testing.assert_array_equal(found, truth.labels)


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize("kind", UPRIGHT)
def test_highdicom_reads_the_same_volume(tmp_path, kind, seg_type):
    series = write_scene(tmp_path / "series", kind)
    written(tmp_path, labels := segmented(series), series, seg_type=seg_type)
    volume = hd.seg.segread(tmp_path / "case.dcm").get_volume(combine_segments=True)
    grid = read_grid(series)
    wanted = hd.Volume(labels, LPS_TO_RAS @ grid.affine, coordinate_system="PATIENT")
    np.testing.assert_array_equal(volume.match_geometry(wanted, tol=1e-3).array, labels)


def test_it_belongs_to_the_patient_and_the_study(tmp_path):
    tags = {
        "t0010_0010": "Doe^Jane",
        "t0010_0020": "P-7",
        "t0010_0040": "F",
        "t0008_0050": "A12",
        "t0008_0020": "20240102",
    }
    series = write_scene(tmp_path / "series", **tags)
    segmentation = written(tmp_path, segmented(series), series)
    assert (segmentation.PatientName, segmentation.PatientID, segmentation.PatientSex) == ("Doe^Jane", "P-7", "F")
    assert (segmentation.AccessionNumber, segmentation.StudyDate) == ("A12", "20240102")
    assert segmentation.StudyInstanceUID == "1.2.3"
    assert segmentation.FrameOfReferenceUID == FRAME
    (referred,) = segmentation.ReferencedSeriesSequence
    assert referred.SeriesInstanceUID == "1.2.3.4" != segmentation.SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referred.ReferencedInstanceSequence} == slices_of(series).keys()
    assert segmentation.Modality == "SEG"
    again = written(tmp_path, segmented(series), series)
    assert again.SOPInstanceUID != segmentation.SOPInstanceUID


def test_segments_say_what_they_are(tmp_path):
    series = write_scene(tmp_path / "series")
    structures = read_structures({"tumour": {"anatomic_region": [10200004, "SCT", "Liver"], "colour": [255, 0, 0]}})
    liver, tumour, own = written(
        tmp_path, segmented(series), series, {**NAMES, 3: "my duct"}, structures=structures
    ).SegmentSequence

    def codes(sequence) -> tuple[str, str]:
        return sequence[0].get("CodeValue") or sequence[0].LongCodeValue, sequence[0].CodingSchemeDesignator

    assert [item.SegmentLabel for item in (liver, tumour, own)] == ["liver", "tumour", "my duct"]
    assert codes(liver.SegmentedPropertyTypeCodeSequence) == ("10200004", "SCT")
    assert codes(tumour.SegmentedPropertyTypeCodeSequence) == ("108369006", "SCT")
    assert codes(tumour.AnatomicRegionSequence) == ("10200004", "SCT")
    assert codes(own.SegmentedPropertyTypeCodeSequence) == ("my duct", "99RANKSEG_MED")
    assert {item.SegmentAlgorithmType for item in (liver, tumour, own)} == {"AUTOMATIC"}
    # Pure red in CIELab: 53.24, 80.09, 67.20.
    lightness, a, b = tumour.RecommendedDisplayCIELabValue
    assert lightness / 65535 * 100 == pytest.approx(53.24, abs=0.3)
    assert (a / 65535 * 255 - 128, b / 65535 * 255 - 128) == pytest.approx((80.09, 67.20), abs=0.6)


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_probabilities_lie_on_their_slices(tmp_path, kind):
    series = write_scene(tmp_path / "series", kind)
    labels = segmented(series)
    # The slices' own values tell which probability every voxel must have.
    values = torch.from_numpy(load_image(series)[0].numpy() / np.float32(1500))
    probabilities = torch.stack([values, values / 4])
    path = tmp_path / "case.dcm"
    DicomSegFormat(seg_type="fractional").write(labels, path, grid_of=series, names=NAMES, probabilities=probabilities)
    segmentation = pydicom.dcmread(path)
    assert (segmentation.SegmentationType, segmentation.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert segmentation.MaximumFractionalValue == 255
    slices = slices_of(series)
    found = {uid: np.zeros((2, item.Rows, item.Columns)) for uid, item in slices.items()}
    for group, (frame, _, _, uid) in zip(
        segmentation.PerFrameFunctionalGroupsSequence, frames(segmentation), strict=True
    ):
        found[uid][group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1] = frame / 255
    for uid, item in slices.items():
        wanted = item.pixel_array / 1500
        np.testing.assert_allclose(found[uid], [wanted, wanted / 4], atol=0.5 / 255 + 1e-6)


def test_probabilities_that_are_not_given(tmp_path):
    series = write_scene(tmp_path / "series")
    with pytest.raises(StudyError, match="needs probabilities of 2 structures on its grid, got None"):
        written(tmp_path, segmented(series), series, seg_type="fractional")


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_nothing_found(tmp_path, seg_type):
    series = write_scene(tmp_path / "series")
    labels = np.zeros_like(segmented(series))
    segmentation = written(tmp_path, labels, series, seg_type=seg_type)
    assert not segmentation.pixel_array.any()
    assert [item.SegmentLabel for item in segmentation.SegmentSequence][-2:] == ["liver", "tumour"]


def test_a_structure_that_does_not_occur_and_empty_slices(tmp_path):
    series = write_scene(tmp_path / "series")
    labels = np.zeros_like(segmented(series))
    labels[3, 4, 5] = 2
    segmentation = written(tmp_path, labels, series)
    assert segmentation.NumberOfFrames == 1
    assert len(segmentation.SegmentSequence) == 2
    ((frame, *_),) = frames(segmentation)
    assert np.argwhere(frame).tolist() == [[4, 3]]
    assert frame[4, 3] == 2


def test_labels_with_gaps(tmp_path):
    series = write_scene(tmp_path / "series")
    labels = segmented(series) * np.uint8(5)
    names = {5: "liver", 10: "tumour"}
    binary = written(tmp_path, labels, series, names)
    assert [item.SegmentNumber for item in binary.SegmentSequence] == [1, 2]
    total = sum((frame == 2).sum() for frame, *_ in frames(binary))
    assert total == (labels == 10).sum()
    labelmap = written(tmp_path, labels, series, names, seg_type="labelmap")
    assert [item.SegmentNumber for item in labelmap.SegmentSequence] == [0, 5, 10]
    assert set(np.unique(labelmap.pixel_array)) == {0, 5, 10}


def test_a_name_beyond_ascii_of_a_patient(tmp_path):
    series = write_scene(tmp_path / "series", t0008_0005="ISO_IR 100")
    for file in series.iterdir():
        header = pydicom.dcmread(file)
        header.PatientName = "Müller^Jörg"
        header.save_as(file)
    segmentation = written(tmp_path, segmented(series), series)
    assert str(segmentation.PatientName) == "Müller^Jörg"


def test_slices_that_do_not_say_how_thick_they_are(tmp_path):
    series = write_scene(tmp_path / "series")
    for file in series.iterdir():
        header = pydicom.dcmread(file)
        del header.SliceThickness
        header.save_as(file)
    (measures,) = written(tmp_path, segmented(series), series).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (float(measures.SliceThickness), float(measures.SpacingBetweenSlices)) == (2.5, 2.5)


@pytest.mark.real_data
def test_a_real_series(tmp_path, shared_data):
    with pytest.raises(StudyError, match="must have its SOPClassUID, SOPInstanceUID, SeriesInstanceUID"):
        SourceSeries.read(shared_data / "ct" / "dicom_series")
    series = with_uids(shared_data / "ct" / "dicom_series", tmp_path / "series")
    labels = (load_image(series)[0].numpy() > 150).astype(np.uint8)
    segmentation = written(tmp_path, labels, series, {1: "bone"})
    slices = slices_of(series)
    found = {}
    for frame, position, directions, uid in frames(segmentation):
        source = slices[uid]
        np.testing.assert_allclose(position, source.ImagePositionPatient, atol=1e-6)
        np.testing.assert_allclose(directions.ravel(), source.ImageOrientationPatient, atol=1e-6)
        found[uid] = frame
    for uid, source in slices.items():
        wanted = source.pixel_array * source.RescaleSlope + source.RescaleIntercept > 150
        np.testing.assert_array_equal(found.get(uid, np.zeros_like(wanted)), wanted)
    assert segmentation.PatientID == next(iter(slices.values())).PatientID
