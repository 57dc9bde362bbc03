"""Reading a folder that holds one DICOM series of slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import LPS_TO_RAS, Grid, check_affine, format_vector
from rankseg_med.studies.reading import reported_as_study_error

_SLICE_SUFFIXES = (".dcm", ".ima")
_POSITION, _ORIENTATION, _PIXEL_SPACING, _THICKNESS = "0020|0032", "0020|0037", "0028|0030", "0018|0050"
_UNEVEN = 0.1
"""How far a slice may be from its even place, in slice distances: scanners round positions to a tenth of a mm."""

_MAX_SLICE_VOXELS = 2**25
"""A CT slice has 2**18; a header that lies about it must not take memory."""


def is_dicom_series(folder: Path) -> bool:
    """Whether a DICOM file lies directly in a folder; the first 132 bytes of its files are read until one does."""
    return any(_is_dicom(file) for file in slice_candidates(folder))


def slice_candidates(folder: Path) -> list[Path]:
    """The files directly in a folder that are not hidden, by name: slices, and what lies beside them."""
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def _is_dicom(file: Path) -> bool:
    if file.name.upper() == "DICOMDIR":  # an index, not an image
        return False
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


@dataclass(frozen=True, eq=False)
class _Slice:
    file: Path
    size: tuple[int, int]
    spacing_mm: np.ndarray  # between columns, between rows
    directions: np.ndarray  # columns: of X, of Y, and the normal; LPS
    position: np.ndarray  # of the first voxel, LPS
    thickness_mm: float | None


class DicomSeries:
    """One DICOM series, its slices sorted by where they lie; see `ImageSource`.

    The gantry's tilt is kept: the third axis of the affine is the way from slice to slice, which need not be
    perpendicular.

    Args:
        folder: the slices lie directly in it, one a file; other files are ignored unless they are named as slices.

    Raises:
        StudyError: if there is none or more than one series, a file is damaged, or the slices are not alike, not
            evenly spaced (one is missing or doubled), or without positions.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        slices = [_read_slice(file) for file in _series_files(folder)]
        normal = slices[0].directions[:, 2]
        self._slices = sorted(slices, key=lambda item: float(item.position @ normal))
        self.grid = self._checked_grid()

    def blocks(self) -> Iterator[np.ndarray]:
        """Voxels slice by slice, with each slice's rescale slope and intercept applied."""
        for item in self._slices:
            with reported_as_study_error(item.file, "DICOM"):
                voxels = SimpleITK.GetArrayFromImage(_reader(item.file).Execute())
            yield voxels.reshape(item.size[::-1]).T[..., None]

    def _checked_grid(self) -> Grid:
        first = self._slices[0]
        for item in self._slices[1:]:
            _check_alike(first, item)
        positions = np.stack([item.position for item in self._slices])
        count = len(positions)
        if count > 1:
            step = (positions[-1] - positions[0]) / (count - 1)
            _check_even(positions, step, [item.file for item in self._slices])
        elif first.thickness_mm:
            step = first.thickness_mm * first.directions[:, 2]
        else:
            raise StudyError(f"{first.file}: a single slice must say its thickness (0018,0050), got none; add slices")
        affine = np.eye(4)
        affine[:3, :2] = first.directions[:, :2] * first.spacing_mm
        affine[:3, 2] = step
        affine[:3, 3] = positions[0]
        affine = LPS_TO_RAS @ affine
        check_affine(affine, self._folder)
        return Grid((*first.size, count), affine)


def _series_files(folder: Path) -> list[Path]:
    with reported_as_study_error(folder, "a DICOM series"):
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


def _reader(file: Path) -> SimpleITK.ImageFileReader:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO("GDCMImageIO")
    return reader


def _read_slice(file: Path) -> _Slice:
    with reported_as_study_error(file, "DICOM"):
        reader = _reader(file)
        reader.ReadImageInformation()
        for key, name in ((_POSITION, "position"), (_ORIENTATION, "orientation"), (_PIXEL_SPACING, "pixel spacing")):
            if not reader.HasMetaDataKey(key):
                raise StudyError(f"{file}: a slice must have its {name} ({key.replace('|', ',')}), got none")
        thickness = reader.GetMetaData(_THICKNESS).strip() if reader.HasMetaDataKey(_THICKNESS) else ""
        thickness_mm = float(thickness) if thickness else None
    width, height, *frames = reader.GetSize()
    components = reader.GetNumberOfComponents()
    if components != 1:
        raise StudyError(f"{file}: voxels must be real numbers, got {components} components each (colour)")
    if np.prod(frames) != 1:
        raise StudyError(f"{file}: must hold one slice, got {frames[0]} frames; export it as single slices")
    if not 0 < width * height <= _MAX_SLICE_VOXELS:
        raise StudyError(f"{file}: a slice must have 1 to {_MAX_SLICE_VOXELS} voxels, got {width} x {height}")
    spacing_mm = np.array(reader.GetSpacing()[:2])
    if not (np.isfinite(spacing_mm) & (spacing_mm > 0)).all():
        raise StudyError(f"{file}: spacing must be positive and finite, got {format_vector(spacing_mm)} mm")
    directions = np.reshape(reader.GetDirection(), (3, 3))
    return _Slice(file, (width, height), spacing_mm, directions, np.array(reader.GetOrigin()), thickness_mm)


def _check_alike(first: _Slice, item: _Slice) -> None:
    if item.size != first.size:
        difference = f"size {first.size} and {item.size}"
    elif not np.allclose(item.spacing_mm, first.spacing_mm, rtol=1e-4):
        difference = f"spacing {format_vector(first.spacing_mm)} and {format_vector(item.spacing_mm)} mm"
    elif not np.allclose(item.directions, first.directions, atol=1e-3):
        difference = f"orientation {first.directions.tolist()} and {item.directions.tolist()}"
    else:
        return
    raise StudyError(
        f"{first.file} and {item.file}: slices of a series must be alike, but differ in {difference}; "
        "move what does not belong to it elsewhere"
    )


def _check_even(positions: np.ndarray, step: np.ndarray, files: list[Path]) -> None:
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
    places = positions[0] + np.arange(len(positions))[:, None] * step
    apart_mm = np.linalg.norm(positions - places, axis=1)
    if not apart_mm.max() <= usual_mm:
        worst = int(apart_mm.argmax())
        raise StudyError(
            f"{files[worst]}: slices must lie in a line, but this one is {apart_mm[worst]:.4g} mm beside it; export "
            "the series again"
        )
