"""A folder that holds one DICOM series: whether its slices are all that it has, and make one volume."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from rankseg_med.studies.errors import StudyError, check_regular_file, reported_as_study_error
from rankseg_med.studies.geometry import LPS_TO_RAS, Grid, check_affine, format_vector
from rankseg_med.studies.readers.dicom_slice import DicomSlice, read_slice

_SLICE_SUFFIXES = (".dcm", ".ima")
_FIRST_GROUP = b"\x08\x00"
"""What a DICOM file without a preamble begins with."""

_UNEVEN = 0.1
"""How far a slice may be from its even place, in slice distances: scanners round positions to a tenth of a mm."""

_UNSCALED = (1.0, 0.0)

_log = logging.getLogger(__name__)


def is_dicom_series(folder: Path) -> bool:
    """Whether a DICOM file lies directly in a folder; the first bytes of its files are read until one does.

    Raises:
        OSError: if the folder cannot be listed.
    """
    # pathlib's is_file raises where it may not look, which is for whoever reads the file to report.
    return any(os.path.isfile(file) and _is_dicom(file) for file in _visible(folder))  # noqa: PTH113


def _candidates(folder: Path) -> list[Path]:
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
    """One DICOM series, its slices sorted by where they lie; see `Reader`.

    The gantry's tilt is kept: the third axis of the affine is the way from slice to slice, which need not be
    perpendicular.

    Args:
        folder: the slices lie directly in it, one a file; other and hidden files are ignored unless they are named as
            slices.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def files(self) -> tuple[Path, ...]:
        """Slices, and what lies beside them.

        Raises:
            StudyError: if there is no file.
            OSError: if the folder cannot be listed.
        """
        if files := _candidates(self._folder):
            return tuple(files)
        raise StudyError(
            f"{self._folder}: a folder as a study must hold the slices of a DICOM series, got no file in it"
        )

    @cached_property
    def _slices(self) -> list[DicomSlice]:
        slices = _read_series(self._folder)
        normal = slices[0].directions[:, 2]
        return sorted(slices, key=lambda item: float(item.position @ normal))

    @cached_property
    def grid(self) -> Grid:
        """Its voxel grid.

        Raises:
            StudyError: if there is none or more than one series, a file is damaged or unreadable, something in the
                folder is neither file nor folder, or the slices are not alike, not evenly spaced (one is missing or
                doubled), without positions, fewer than they say, or of a CT and not rescaled alike.
        """
        _check_slices(self._slices, self._folder)
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

    @property
    def slice_files(self) -> tuple[Path, ...]:
        """The file of each slice, in the order of the grid's third axis.

        Raises:
            StudyError: as `grid`.
        """
        _ = self.grid
        return tuple(item.file for item in self._slices)

    def blocks(self) -> Iterator[np.ndarray]:
        """Voxels slice by slice, with each slice's rescale slope and intercept applied."""
        return (item.voxels() for item in self._slices)


def _read_series(folder: Path) -> list[DicomSlice]:
    with reported_as_study_error(folder, "a DICOM series"):
        files = _candidates(folder)
    for file in files:
        check_regular_file(file)
    # Not by ITK's own listing, which opens FIFOs, leaves out what it cannot read, and gives up at a link to nothing.
    slices = [read_slice(file) for file in files if file.suffix.lower() in _SLICE_SUFFIXES or _is_dicom(file)]
    if not slices:
        raise StudyError(
            f"{folder}: a folder as a study must hold one DICOM series, got none in its {len(files)} files; give a "
            "file, or a folder of studies"
        )
    series = Counter(item.series for item in slices)
    if len(series) > 1:
        listed = "; ".join(f"{name or 'without UID'} ({count} files)" for name, count in series.items())
        raise StudyError(f"{folder}: must hold one DICOM series, got {len(series)}: {listed}; one folder for each")
    return slices


def _check_slices(slices: Sequence[DicomSlice], folder: Path) -> None:
    """Check that slices, sorted by place, are alike, evenly spaced, scaled alike, and as many as they say."""
    for item in slices[1:]:
        _check_alike(slices[0], item)
    _check_rescaling(slices)
    _check_count(slices, folder)
    if len(slices) > 1:
        _check_even(np.stack([item.position for item in slices]), [item.file for item in slices])


def _check_alike(first: DicomSlice, item: DicomSlice) -> None:
    unlike = [name for name, value in item.units.items() if value and first.units[name] not in ("", value)]
    if item.size != first.size:
        difference = f"size {first.size} and {item.size}"
    elif not np.allclose(item.spacing_mm, first.spacing_mm, rtol=1e-4):
        difference = f"spacing {format_vector(first.spacing_mm)} and {format_vector(item.spacing_mm)} mm"
    elif not np.allclose(item.directions, first.directions, atol=1e-3):
        difference = f"orientation {first.directions.tolist()} and {item.directions.tolist()}"
    elif unlike:
        difference = "; ".join(f"{name} {first.units[name]!r} and {item.units[name]!r}" for name in unlike)
    else:
        return
    raise StudyError(
        f"{first.file} and {item.file}: slices of a series must be alike, but differ in {difference}; "
        "move what does not belong to it elsewhere"
    )


def _check_rescaling(slices: Sequence[DicomSlice]) -> None:
    """One rescaling for all, but for modalities that scale each slice to its own range, as PET does."""
    usual = Counter(item.rescale for item in slices).most_common(1)[0][0]
    odd = [item for item in slices if (item.rescale or _UNSCALED) != (usual or _UNSCALED)]
    if not odd:
        return
    first = odd[0]
    others = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
    told = (
        f"{first.file}{others}: rescale slope and intercept (0028,1053 and 0028,1052) differ from those of most "
        f"slices, {_told(first.rescale)} instead of {_told(usual)}"
    )
    if first.modality == "CT" or None in (usual, *(item.rescale for item in odd)):
        raise StudyError(f"{told}; its values would be off, so export the series again")
    if first.modality != "PT":
        _warn(f"{told}; each slice is read with its own, as DICOM has it")


def _told(rescale: tuple[float, float] | None) -> str:
    return "none" if rescale is None else "{:g} and {:g}".format(*rescale)


def _check_count(slices: Sequence[DicomSlice], folder: Path) -> None:
    """A slice that is lost at either end leaves no gap."""
    for item in slices:
        for name, count in item.counts.items():
            if count > len(slices):
                raise StudyError(
                    f"{folder}: holds {len(slices)} slices, but {item.file.name} says that there are {count} ({name}); "
                    "copy the missing ones too, or, if only this part is meant, convert it to NIfTI"
                )
    numbers = [item.number for item in slices if item.number is not None]
    if numbers and min(numbers) > 1:
        _warn(
            f"{folder}: its slices are numbered from {min(numbers)} to {max(numbers)}; if the series begins at 1, "
            "slices are missing at one end"
        )


@cache
def _warn(message: str) -> None:
    """Once a process: headers are read several times on the way to a result."""
    _log.warning(message)


def _check_even(positions: np.ndarray, files: list[Path]) -> None:
    """Slices are as far apart as most are, and none lies beside the line of the others."""
    gaps_mm = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual_mm = float(np.median(gaps_mm))
    odd = np.flatnonzero(abs(gaps_mm - usual_mm) > _UNEVEN * usual_mm)
    if odd.size or usual_mm == 0:
        before = int(odd[0]) if odd.size else 0
        raise StudyError(
            f"{files[before]} and {files[before + 1]}: slices must be evenly spaced, but these are "
            f"{gaps_mm[before]:.4g} mm apart and most {usual_mm:.4g} mm; a slice is missing, doubled, or of another "
            "acquisition"
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    places = positions[0] + np.arange(len(positions))[:, None] * step
    apart_mm = np.linalg.norm(positions - places, axis=1)
    if not apart_mm.max() <= usual_mm:
        worst = int(apart_mm.argmax())
        raise StudyError(
            f"{files[worst]}: slices must lie in a line, but this one is {apart_mm[worst]:.4g} mm beside it; export "
            "the series again"
        )
