"""DICOM segmentation objects, read back frame for frame on the slices of their series (highdicom)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import highdicom as hd
import numpy as np
from jaxtyping import Float32, UInt8

from rankseg_med.studies.errors import StudyError, check_regular_file
from rankseg_med.studies.readers.dicom_source import SourceSeries, reported_as_dicom_fault


def read_dicom_seg(path: Path, source: SourceSeries, names: Mapping[int, str] | None) -> UInt8[np.ndarray, "X Y Z"]:
    """Label map of a segmentation, on its series' grid.

    Frames are placed by the slices that they refer to, not by an affine, as `write_dicom_seg` writes them; slices
    without a frame are background.

    Args:
        path: A binary segmentation, whose segments are taken for the labels in their order, or a labelmap.
        source: The series that was segmented.
        names: Label to name, without the background; None where nobody knows, and then the segments' numbers are
            the labels.

    Raises:
        StudyError: It is no such segmentation, of another series, or has other structures than the names; or two
            structures want one voxel.
    """
    with _opened(path, source) as (segmentation, slices):
        if segmentation.SegmentationType == "FRACTIONAL":
            raise StudyError(
                f"{path}: holds probabilities in place of a label map, and does not say which voxel is of which "
                "structure; write it as binary or labelmap"
            )
        label_of = _labels_of(segmentation, path, names)
        numbers = segmentation.get_pixels_by_source_instance(
            slices, combine_segments=True, assert_missing_frames_are_empty=True
        )
        # Axes of DICOM's frames are slice, row, column.
        labels: np.ndarray = label_of[numbers].transpose(2, 1, 0)
        return labels


def read_fractional_seg(path: Path, source: SourceSeries) -> Float32[np.ndarray, "structures X Y Z"]:
    """Probabilities of a fractional segmentation on its series' grid, in the order of its segments.

    Raises:
        StudyError: It is no such segmentation, or of another series.
    """
    with _opened(path, source) as (segmentation, slices):
        values = segmentation.get_pixels_by_source_instance(slices, assert_missing_frames_are_empty=True)
        probabilities: np.ndarray = values.astype(np.float32, copy=False).transpose(3, 2, 1, 0)
        return probabilities


@contextmanager
def _opened(path: Path, source: SourceSeries) -> Iterator[tuple[hd.seg.Segmentation, list[str]]]:
    """A segmentation, and the UIDs of its series' slices in the order of the grid."""
    check_regular_file(path)
    slices = [str(header.SOPInstanceUID) for header in source.slices]
    with reported_as_dicom_fault(path, "a DICOM segmentation"):
        segmentation = hd.seg.segread(path)
        if strangers := {uid for *_, uid in segmentation.get_source_image_uids()} - set(slices):
            raise StudyError(
                f"{path}: is a segmentation of {len(strangers)} slices that are not in {source.folder}; name the "
                "series that was segmented"
            )
        yield segmentation, slices


def _labels_of(
    segmentation: hd.seg.Segmentation, path: Path, names: Mapping[int, str] | None
) -> UInt8[np.ndarray, " numbers"]:
    """Number of a segment to label."""
    segments = {int(item.SegmentNumber): str(item.SegmentLabel) for item in segmentation.SegmentSequence}
    # A labelmap may have a segment for the background.
    numbers = sorted(segments.keys() - {0})
    labels = numbers if names is None or segmentation.SegmentationType == "LABELMAP" else sorted(names)
    found = dict(zip(labels, (segments[number] for number in numbers), strict=False))
    if len(labels) != len(numbers) or (names is not None and found != dict(names)):
        raise StudyError(f"{path}: must have the structures {dict(names or {})}, got the segments {segments}")
    label_of = np.zeros(max(numbers, default=0) + 1, np.uint8)
    label_of[numbers] = labels
    return label_of
