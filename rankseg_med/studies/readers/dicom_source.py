"""The DICOM series that a label map was made of: what its slices say of the patient, the study and their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from rankseg_med.studies.errors import StudyError, reported_as_study_error
from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.readers.dicom import DicomSeries

# What no object can refer to the series without.
_REQUIRED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
)
# What every object must have, empty where it is not known: anonymisers take them out.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)


@dataclass(frozen=True)
class SourceSeries:
    """A DICOM series, without its voxels.

    Attributes:
        folder: Where it lies.
        grid: Its voxel grid.
        slices: Headers, in the order of the grid's third axis. They say how far apart slices lie by where they do.
    """

    folder: Path
    grid: Grid
    slices: tuple[Dataset, ...]

    @classmethod
    def read(cls, folder: Path) -> SourceSeries:
        """Read all headers.

        Raises:
            StudyError: It is no series that `open_image` takes, or its slices lack what refers to them.
        """
        series = DicomSeries(folder)
        between_mm = _distance_between_planes(series.grid)
        return cls(folder, series.grid, tuple(_header(file, between_mm) for file in series.slice_files))

    @contextmanager
    def blamed(self, kind: str) -> Iterator[None]:
        """Whatever pydicom and highdicom raise is taken for a fault of the headers, which they copy.

        Args:
            kind: What is made of it, such as DICOM-SEG.
        """
        try:
            yield
        except StudyError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError, LookupError) as error:
            raise StudyError(
                f"{self.folder}: its headers cannot be carried over to {kind} ({' '.join(str(error).split())}); mend "
                "them, or write NIfTI"
            ) from error


@contextmanager
def reported_as_dicom_fault(path: Path, kind: str) -> Iterator[None]:
    """As `reported_as_study_error`, of what pydicom and highdicom raise beside that where a header lacks something.

    Args:
        path: The file.
        kind: What it should be.
    """
    with reported_as_study_error(path, kind):
        try:
            yield
        except (InvalidDicomError, AttributeError, LookupError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _distance_between_planes(grid: Grid) -> float:
    """In mm, which of a tilted gantry is less than the way from slice to slice."""
    along_row, along_column, step = grid.affine[:3, :3].T
    normal = np.cross(along_row, along_column)
    return abs(float(step @ normal)) / float(np.linalg.norm(normal))


def _header(file: Path, between_mm: float) -> Dataset:
    with reported_as_study_error(file, "DICOM"):
        header = dcmread(file, stop_before_pixels=True, force=True)
    missing = [keyword for keyword in _REQUIRED if not header.get(keyword)]
    if missing:
        raise StudyError(f"{file}: a slice that DICOM objects refer to must have its {', '.join(missing)}; mend it")
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    # highdicom copies both; of the one, not every scanner says the truth, and the other may be missing.
    header.SpacingBetweenSlices = f"{between_mm:.10g}"
    if not header.get("SliceThickness"):
        header.SliceThickness = header.SpacingBetweenSlices
    return header
