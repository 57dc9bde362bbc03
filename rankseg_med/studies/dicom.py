"""Reading a folder that holds one DICOM series of slices."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rankseg_med.studies.dicom_checks import check_slices
from rankseg_med.studies.dicom_slice import DicomSlice, read_slice
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import LPS_TO_RAS, Grid, check_affine
from rankseg_med.studies.reading import check_regular_file, reported_as_study_error

_SLICE_SUFFIXES = (".dcm", ".ima")
_FIRST_GROUP = b"\x08\x00"
"""What a DICOM file without a preamble begins with."""


def is_dicom_series(folder: Path) -> bool:
    """Whether a DICOM file lies directly in a folder; the first bytes of its files are read until one does.

    Raises:
        OSError: if the folder cannot be listed.
    """
    # pathlib's is_file raises where it may not look, which is for whoever reads the file to report.
    return any(os.path.isfile(file) and _is_dicom(file) for file in _visible(folder))  # noqa: PTH113


def slice_candidates(folder: Path) -> list[Path]:
    """What lies directly in a folder, is no folder and not hidden, by name: slices, and what lies beside them."""
    return [path for path in _visible(folder) if not path.is_dir()]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_dicom(file: Path) -> bool:
    if file.name.upper() == "DICOMDIR":  # an index, not an image
        return False
    try:
        with file.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return file.suffix.lower() in _SLICE_SUFFIXES  # refused by name when it is read
    return start[128:] == b"DICM" or start[:2] == _FIRST_GROUP


class DicomSeries:
    """One DICOM series, its slices sorted by where they lie; see `ImageSource`.

    The gantry's tilt is kept: the third axis of the affine is the way from slice to slice, which need not be
    perpendicular.

    Args:
        folder: the slices lie directly in it, one a file; other and hidden files are ignored unless they are named as
            slices.

    Raises:
        StudyError: if there is none or more than one series, a file is damaged or unreadable, something in the folder
            is neither file nor folder, or the slices are not alike, not evenly spaced (one is missing or doubled),
            without positions, fewer than they say, or of a CT and not rescaled alike.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        slices = _read_series(folder)
        normal = slices[0].directions[:, 2]
        self._slices = sorted(slices, key=lambda item: float(item.position @ normal))
        self.grid = self._checked_grid()

    def blocks(self) -> Iterator[np.ndarray]:
        """Voxels slice by slice, with each slice's rescale slope and intercept applied."""
        return (item.voxels() for item in self._slices)

    def _checked_grid(self) -> Grid:
        check_slices(self._slices, self._folder)
        first, last, count = self._slices[0], self._slices[-1], len(self._slices)
        if count > 1:
            step = (last.position - first.position) / (count - 1)
        elif first.thickness_mm:
            step = first.thickness_mm * first.directions[:, 2]
        else:
            raise StudyError(f"{first.file}: a single slice must say its thickness (0018,0050), got none; add slices")
        affine = np.eye(4)
        affine[:3, :2] = first.directions[:, :2] * first.spacing_mm
        affine[:3, 2] = step
        affine[:3, 3] = first.position
        affine = LPS_TO_RAS @ affine
        check_affine(affine, self._folder)
        return Grid((*first.size, count), affine)


def _read_series(folder: Path) -> list[DicomSlice]:
    with reported_as_study_error(folder, "a DICOM series"):
        files = slice_candidates(folder)
    for file in files:
        check_regular_file(file)
    # Not by ITK's own listing, which opens FIFOs, leaves out what it cannot read, and gives up at a link to nothing.
    slices = [read_slice(file) for file in files if file.suffix.lower() in _SLICE_SUFFIXES or _is_dicom(file)]
    if not slices:
        raise StudyError(
            f"{folder}: a folder as a study must hold one DICOM series, found none in its {len(files)} files; give a "
            "file, or a folder of studies"
        )
    series = Counter(item.series for item in slices)
    if len(series) > 1:
        listed = "; ".join(f"{name or 'without UID'} ({count} files)" for name, count in series.items())
        raise StudyError(f"{folder}: must hold one DICOM series, found {len(series)}: {listed}; one folder for each")
    return slices
