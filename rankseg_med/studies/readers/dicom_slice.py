"""One slice of a DICOM series: what its header says, and its voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from rankseg_med.studies.errors import StudyError, reported_as_study_error
from rankseg_med.studies.geometry import format_vector

_POSITION, _ORIENTATION, _PIXEL_SPACING, _THICKNESS = "0020|0032", "0020|0037", "0028|0030", "0018|0050"
_INTERCEPT, _SLOPE, _RESCALE_TYPE = "0028|1052", "0028|1053", "0028|1054"
_SERIES, _MODALITY, _PHOTOMETRIC, _PET_UNITS, _NUMBER = "0020|000e", "0008|0060", "0028|0004", "0054|1001", "0020|0013"

_COUNTS = {
    "0020|1002": "Images in Acquisition",
    "0020|1003": "Images in Series",
    "0020|1209": "Number of Series Related Instances",
    "0054|0081": "Number of Slices",
}
"""Where a slice may say how many there are."""

_MAX_SLICE_VOXELS = 2**25
"""A CT slice has 2**18; a header that lies about it must not take memory."""


@dataclass(frozen=True, eq=False)
class DicomSlice:
    """What the header of one slice says.

    Attributes:
        file: it.
        series: the UID of the series that it is of; empty where it does not say.
        size: columns and rows.
        spacing_mm: between columns, between rows.
        directions: columns of X, of Y, and the normal; LPS.
        position: position of the first voxel, LPS.
        thickness_mm: None where it does not say.
        modality: such as CT; empty where it does not say.
        rescale: slope and intercept; None where it has neither.
        units: whatever it says of what its values mean, by name.
        number: its place in the series as it was made; None where it does not say.
        counts: how many slices there are, by the name of what says so.
    """

    file: Path
    series: str
    size: tuple[int, int]
    spacing_mm: np.ndarray
    directions: np.ndarray
    position: np.ndarray
    thickness_mm: float | None
    modality: str
    rescale: tuple[float, float] | None
    units: dict[str, str]
    number: int | None
    counts: dict[str, int]

    def voxels(self) -> np.ndarray:
        """`(columns, rows, 1)`, with slope and intercept applied.

        Raises:
            StudyError: if the file is damaged.
        """
        with reported_as_study_error(self.file, "DICOM"):
            voxels: np.ndarray = SimpleITK.GetArrayFromImage(_reader(self.file).Execute())
        return voxels.reshape(self.size[::-1]).T[..., None]


def read_slice(file: Path) -> DicomSlice:
    """Read the header of one slice.

    Raises:
        StudyError: if the file is damaged, has no position, is no single slice of real numbers, or has a spacing or a
            rescaling that cannot be.
    """
    with reported_as_study_error(file, "DICOM"):
        reader = _reader(file)
        reader.ReadImageInformation()
        tags = {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys()}
        for key, name in ((_POSITION, "position"), (_ORIENTATION, "orientation"), (_PIXEL_SPACING, "pixel spacing")):
            if key not in tags:
                raise StudyError(f"{file}: a slice must have its {name} ({key.replace('|', ',')}), got none")
        thickness = tags.get(_THICKNESS)
        thickness_mm = float(thickness) if thickness else None
        rescale = _rescale(tags, file)
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
    return DicomSlice(
        file,
        tags.get(_SERIES, ""),
        (width, height),
        spacing_mm,
        directions=np.reshape(reader.GetDirection(), (3, 3)),
        position=np.array(reader.GetOrigin()),
        thickness_mm=thickness_mm,
        modality=tags.get(_MODALITY, ""),
        rescale=rescale,
        units={
            "rescale type": tags.get(_RESCALE_TYPE, ""),
            "units": tags.get(_PET_UNITS, ""),
            "photometric interpretation": tags.get(_PHOTOMETRIC, ""),
        },
        number=_whole_number(tags.get(_NUMBER, "")),
        counts={
            name: count for key, name in _COUNTS.items() if (count := _whole_number(tags.get(key, ""))) is not None
        },
    )


def _reader(file: Path) -> SimpleITK.ImageFileReader:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO("GDCMImageIO")
    return reader


def _rescale(tags: dict[str, str], file: Path) -> tuple[float, float] | None:
    if not tags.get(_SLOPE) and not tags.get(_INTERCEPT):
        return None
    slope, intercept = float(tags.get(_SLOPE) or 1), float(tags.get(_INTERCEPT) or 0)
    if not math.isfinite(slope) or not math.isfinite(intercept) or slope == 0:
        raise StudyError(
            f"{file}: rescale slope (0028,1053) and intercept (0028,1052) must be finite and the slope not 0, got "
            f"{slope:g} and {intercept:g}; export it again"
        )
    return slope, intercept


def _whole_number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
