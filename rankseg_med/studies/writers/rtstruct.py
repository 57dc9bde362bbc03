"""Label maps as RT structure sets: outlines on the slices of their series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from jaxtyping import Float, UInt8
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

import rankseg_med
from rankseg_med.studies.atomic import atomic_write
from rankseg_med.studies.readers.dicom_source import SourceSeries
from rankseg_med.studies.structures import Structure
from rankseg_med.studies.writers.dicom_seg import PRODUCT, SERIES_NUMBER, coded, private_scheme
from rankseg_med.studies.writers.outlines import outlines_of

_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
"""The retired class that RT structure sets go on referring to studies by."""


def write_rtstruct(
    labels: UInt8[np.ndarray, "X Y Z"], path: Path, source: SourceSeries, structures: Sequence[Structure]
) -> None:
    """Write one structure set, atomically; its instance and its series are new.

    Every structure is a region of interest, without outlines if it does not occur. Outlines lie in the plane of the
    slice that they refer to, by its own position and orientation; see `outlines_of`.

    Args:
        labels: On the series' grid, each the label of a structure, or 0.
        path: Where it goes; an existing file is replaced.
        source: The series that was segmented; patient and study are taken from it.
        structures: At least one.

    Raises:
        StudyError: The series' headers cannot be carried over.
        OSError: The file cannot be written.
    """
    with source.blamed("RTSTRUCT"):
        dataset = _without_regions(source, structures)
    for number, structure in enumerate(structures, start=1):
        dataset.StructureSetROISequence.append(_region(number, structure, source))
        dataset.ROIContourSequence.append(_contours(number, structure, labels, source))
        dataset.RTROIObservationsSequence.append(_observation(number, structure))
    with atomic_write(path) as temporary:
        dataset.save_as(temporary)


def _without_regions(source: SourceSeries, structures: Sequence[Structure]) -> hd.SOPClass:
    first = source.slices[0]
    dataset = hd.SOPClass(
        study_instance_uid=first.StudyInstanceUID,
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        sop_class_uid=RTStructureSetStorage,
        instance_number=1,
        modality="RTSTRUCT",
        # Explicit types have no room for outlines of more than 64 KB.
        transfer_syntax_uid=ImplicitVRLittleEndian,
        patient_id=first.PatientID,
        patient_name=first.PatientName,
        patient_birth_date=first.PatientBirthDate,
        patient_sex=first.PatientSex,
        accession_number=first.AccessionNumber,
        study_id=first.StudyID,
        study_date=first.StudyDate,
        study_time=first.StudyTime,
        referring_physician_name=first.ReferringPhysicianName,
        specific_character_set=first.get("SpecificCharacterSet"),
        manufacturer=PRODUCT,
        manufacturer_model_name=PRODUCT,
        software_versions=rankseg_med.__version__,
        series_description=f"Segmentation by {PRODUCT}",
        coding_schemes=private_scheme(structures),
    )
    dataset.copy_patient_and_study_information(first)
    dataset.StructureSetLabel = "SEGMENTATION"
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.InstanceCreationDate, dataset.InstanceCreationTime
    dataset.OperatorsName = None
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.FrameOfReferenceUID = first.FrameOfReferenceUID
    dataset.PositionReferenceIndicator = None
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    return dataset


def _frame_of_reference(source: SourceSeries) -> Dataset:
    first = source.slices[0]
    series = Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [_reference(header) for header in source.slices]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_COMPONENT
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _region(number: int, structure: Structure, source: SourceSeries) -> Dataset:
    item = Dataset()
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = source.slices[0].FrameOfReferenceUID
    item.ROIName = structure.name
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    return item


def _observation(number: int, structure: Structure) -> Dataset:
    item = Dataset()
    item.ObservationNumber = number
    item.ReferencedROINumber = number
    item.RTROIIdentificationCodeSequence = [hd.sr.CodedConcept.from_code(coded(structure.type))]
    item.RTROIInterpretedType = None
    item.ROIInterpreter = None
    return item


def _contours(number: int, structure: Structure, labels: UInt8[np.ndarray, "X Y Z"], source: SourceSeries) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = number
    item.ROIDisplayColor = list(structure.colour)
    if contours := list(_contours_on_slices(labels == structure.label, source)):
        item.ContourSequence = contours
    return item


def _contours_on_slices(mask: np.ndarray, source: SourceSeries) -> Iterator[Dataset]:
    for index in np.flatnonzero(mask.any(axis=(0, 1))):
        header = source.slices[index]
        for outline in outlines_of(mask[:, :, index]):
            item = Dataset()
            item.ContourImageSequence = [_reference(header)]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(outline)
            item.ContourData = [f"{value:.4f}" for value in _places_mm(outline, header).ravel()]
            yield item


def _places_mm(outline: Float[np.ndarray, "points 2"], header: Dataset) -> Float[np.ndarray, "points 3"]:
    """Points of a slice, in DICOM's coordinates of the patient."""
    between_rows, between_columns = map(float, header.PixelSpacing)
    along_row, along_column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
    position = np.array(header.ImagePositionPatient, float)
    x, y = outline.T[:, :, None]
    places: np.ndarray = position + x * between_columns * along_row + y * between_rows * along_column
    return places
