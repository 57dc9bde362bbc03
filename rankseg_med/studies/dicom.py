"""Reading a folder that holds one DICOM series of slices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK

from rankseg_med.studies.dicom_checks import check_slices
from rankseg_med.studies.dicom_slice import read_slice
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import LPS_TO_RAS, Grid, check_affine
from rankseg_med.studies.reading import check_regular_file, reported_as_study_error

_SLICE_SUFFIXES = (".dcm", ".ima")


def is_dicom_series(folder: Path) -> bool:
    """Whether a DICOM file lies directly in a folder; the first 132 bytes of its files are read until one does.

    Raises:
        OSError: if the folder cannot be listed.
    """
    return any(_is_dicom(file) for file in slice_candidates(folder))


def slice_candidates(folder: Path) -> list[Path]:
    """The files directly in a folder that are not hidden, by name: slices, and what lies beside them."""
    # pathlib's is_file raises where it may not look, which is for whoever reads the file to report.
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in visible if os.path.isfile(path))  # noqa: PTH113


def _is_dicom(file: Path) -> bool:
    if file.name.upper() == "DICOMDIR":  # an index, not an image
        return False
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return file.suffix.lower() in _SLICE_SUFFIXES  # refused by name when it is read


class DicomSeries:
    """One DICOM series, its slices sorted by where they lie; see `ImageSource`.

    The gantry's tilt is kept: the third axis of the affine is the way from slice to slice, which need not be
    perpendicular.

    Args:
        folder: the slices lie directly in it, one a file; other files are ignored unless they are named as slices.

    Raises:
        StudyError: if there is none or more than one series, a file is damaged or unreadable, something in the folder
            is neither file nor folder, or the slices are not alike, not evenly spaced (one is missing or doubled),
            without positions, fewer than they say, or of a CT and not rescaled alike.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        slices = [read_slice(file) for file in _series_files(folder)]
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


def _series_files(folder: Path) -> list[Path]:
    with reported_as_study_error(folder, "a DICOM series"):
        _check_only_files(folder)
        files = slice_candidates(folder)
        found = [file for file in files if _is_dicom(file)]
        series = {
            identifier: SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), identifier)
            for identifier in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        }
    if not found or not series:
        raise StudyError(
            f"{folder}: a folder as a study must hold one DICOM series, found none in its {len(files)} files; give a "
            "file, or a folder of studies"
        )
    if len(series) > 1:
        listed = "; ".join(f"{name or 'without UID'} ({len(names)} files)" for name, names in series.items())
        raise StudyError(f"{folder}: must hold one DICOM series, found {len(series)}: {listed}; one folder for each")
    (names,) = series.values()
    slices = {Path(name).name for name in names}
    for file in files:
        if file.name not in slices and (file in found or file.suffix.lower() in _SLICE_SUFFIXES):
            raise StudyError(f"{file}: cannot be read as a slice of the series; copy it again or move it elsewhere")
    return [folder / name for name in sorted(slices)]


def _check_only_files(folder: Path) -> None:
    """Before GDCM opens whatever is in a folder, and leaves out what it cannot open."""
    for path in sorted(folder.iterdir()):
        is_broken_lock = path.name.startswith(".") and not path.exists()  # editors' locks are links to nothing
        if not path.is_dir() and not is_broken_lock:
            check_regular_file(path)
