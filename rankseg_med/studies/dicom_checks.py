"""Whether the slices of a folder are all that a DICOM series has, and make one volume."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from rankseg_med.studies.dicom_slice import DicomSlice
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import format_vector

_UNEVEN = 0.1
"""How far a slice may be from its even place, in slice distances: scanners round positions to a tenth of a mm."""

_UNSCALED = (1.0, 0.0)

_logger = logging.getLogger(__name__)


def check_slices(slices: Sequence[DicomSlice], folder: Path) -> None:
    """Check that slices are alike, evenly spaced, scaled alike, and as many as they say.

    Args:
        slices: at least one, sorted by place.
        folder: they are all that it holds.

    Raises:
        StudyError: if they are not; the message names the files.
    """
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
    _logger.warning(message)


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
