"""Label maps as DICOM segmentation objects, frame for frame on the slices of their series (highdicom)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import highdicom as hd
import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from jaxtyping import Float32, UInt8
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

import rankseg_med
from rankseg_med.studies.atomic import atomic_write
from rankseg_med.studies.readers.dicom_source import SourceSeries
from rankseg_med.studies.structures import PRIVATE_SCHEME, Code, Structure

SegType = Literal["binary", "labelmap"]
_STEPS = 255
PRODUCT = "rankseg_med"
SERIES_NUMBER = 1000
"""Of the series of every object that is written: far above a scanner's own."""


def write_dicom_seg(
    labels: UInt8[np.ndarray, "X Y Z"],
    path: Path,
    source: SourceSeries,
    structures: Sequence[Structure],
    seg_type: SegType,
) -> None:
    """Write one segmentation object, atomically; its instance and its series are new.

    Each frame refers to the slice that it lies on and has that slice's own position, so that nothing depends on an
    affine. Frames in which a structure does not occur are left out, unless nothing occurs at all, since an object
    needs a frame.

    Args:
        labels: On the series' grid, each the label of a structure, or 0.
        path: Where it goes; an existing file is replaced.
        source: The series that was segmented; patient and study are taken from it.
        structures: At least one. Each is a segment, whether it occurs or not.
        seg_type: ``"binary"``: one bit a voxel and segment, segments numbered from 1 in the order of the structures.
            ``"labelmap"``: one byte a voxel, segments numbered as the labels.

    Raises:
        StudyError: The series' headers cannot be carried over.
        OSError: The file cannot be written.
    """
    numbers = [item.label for item in structures] if seg_type == "labelmap" else list(range(1, len(structures) + 1))
    number_of = np.zeros(256, np.uint8)
    number_of[[item.label for item in structures]] = numbers
    _write(number_of[labels].transpose(2, 1, 0), path, source, structures, numbers, seg_type.upper())


def write_fractional_seg(
    probabilities: Float32[np.ndarray, "structures X Y Z"],
    path: Path,
    source: SourceSeries,
    structures: Sequence[Structure],
) -> None:
    """Write one segmentation object of probabilities, atomically, as `write_dicom_seg` does.

    Args:
        probabilities: On the series' grid; they are rounded to 1/255.
        path: Where it goes; an existing file is replaced.
        source: The series that was segmented.
        structures: At least one; each is a segment, numbered from 1.

    Raises:
        StudyError: The series' headers cannot be carried over.
        OSError: The file cannot be written.
    """
    # Rounded here, so that frames that come to nothing are left out.
    rounded = np.rint(probabilities * _STEPS) / _STEPS
    _write(rounded.transpose(3, 2, 1, 0), path, source, structures, list(range(1, len(structures) + 1)), "FRACTIONAL")


def _write(
    pixels: np.ndarray,
    path: Path,
    source: SourceSeries,
    structures: Sequence[Structure],
    numbers: Sequence[int],
    segmentation_type: str,
) -> None:
    with source.blamed("DICOM-SEG"):
        segmentation = hd.seg.Segmentation(
            source_images=source.slices,
            pixel_array=pixels,
            segmentation_type=segmentation_type,
            max_fractional_value=_STEPS,
            segment_descriptions=[_segment(*pair) for pair in zip(numbers, structures, strict=True)],
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=PRODUCT,
            manufacturer_model_name=PRODUCT,
            software_versions=rankseg_med.__version__,
            device_serial_number="none",
            series_description=f"Segmentation by {PRODUCT}",
            content_label="SEGMENTATION",
            # RLE is compression that every reader knows; of single bits there is none.
            transfer_syntax_uid=ExplicitVRLittleEndian if segmentation_type == "BINARY" else RLELossless,
            omit_empty_frames=bool(pixels.any()),
            coding_schemes=private_scheme(structures),
        )
    with atomic_write(path) as temporary:
        segmentation.save_as(temporary)


def _segment(number: int, structure: Structure) -> hd.seg.SegmentDescription:
    region = structure.anatomic_region
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.name,
        segmented_property_category=coded(structure.category),
        segmented_property_type=coded(structure.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=PRODUCT, version=rankseg_med.__version__, family=codes.DCM.ArtificialIntelligence
        ),
        anatomic_regions=None if region is None else [coded(region)],
        display_color=hd.color.CIELabColor.from_rgb(*structure.colour),
    )


def coded(code: Code) -> DicomCode:
    """A code as highdicom takes it."""
    return DicomCode(code.value, code.scheme, code.meaning)


def private_scheme(structures: Sequence[Structure]) -> list[CodingSchemeIdentificationItem] | None:
    """What says whose the codes are that are nobody else's; None if there are none."""
    if all(item.type.scheme != PRIVATE_SCHEME for item in structures):
        return None
    return [
        CodingSchemeIdentificationItem(
            designator=PRIVATE_SCHEME,
            name="Names of structures as the user gives them",
            responsible_organization=PRODUCT,
        )
    ]
