"""Where the voxels of a NIfTI file begin and how they are scaled, where libraries would guess or disagree."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np

from rankseg_med.studies.errors import StudyError

_EXTENDER_BYTES = 4
_EXTENSION_UNIT_BYTES = 16
_LARGEST_EXTENSION_CODE = 64
"""NIfTI gives out even codes, 44 so far."""


def stored_header(image: nib.Nifti1Pair) -> nib.Nifti1Header:
    """The header as it lies in the file, without extensions; the one that nibabel loads has fields repaired."""
    holder = image.file_map.get("header", image.file_map["image"])
    with holder.get_prepare_fileobj("rb") as stream:
        block = stream.read(image.header_class.template_dtype.itemsize)
    return image.header_class(block, check=False)


def check_voxel_storage(image: nib.Nifti1Pair, path: Path) -> None:
    """Check `vox_offset` and the scaling, before a wrong one shifts or changes every voxel.

    Args:
        image: as nibabel loaded it.
        path: its file.

    Raises:
        StudyError: if `vox_offset` is not a whole number, lies in the header of a single file or in the extensions
            behind it, or is negative; if a pair says that it is a single file; or if a slope is infinite or has an
            intercept that is not finite.
    """
    header = stored_header(image)
    _check_scaling(header, path)
    offset = float(header["vox_offset"])
    is_single = isinstance(image, nib.Nifti1Image)
    first = header.single_vox_offset if is_single else 0
    if not (math.isfinite(offset) and offset.is_integer() and offset >= first):
        raise StudyError(
            f"{path}: vox_offset, where the voxels begin, must be a whole number from {first} on, got {offset:g}; "
            "programs disagree on such a file, so write it again with the one that made it, or correct the field"
        )
    if is_single:
        _check_behind_extensions(image, header, path, int(offset))
    elif header["magic"].item() == header.single_magic:
        raise StudyError(
            f"{path}: is half of a pair, but its magic {header.single_magic.decode()} says that voxels lie in the "
            "header's own file; programs disagree on such a file, so convert it to .nii.gz with the one that made it"
        )


def _check_scaling(header: nib.Nifti1Header, path: Path) -> None:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    # Both undefined, as nibabel writes it, and a slope of 0 mean that nothing is scaled.
    is_unscaled = slope == 0 or math.isnan(slope)
    if math.isinf(slope) or math.isinf(intercept) or (math.isnan(intercept) and not is_unscaled):
        raise StudyError(
            f"{path}: slope and intercept (scl_slope, scl_inter) must be finite, got {slope:g} and {intercept:g}; "
            "programs disagree on what such a file holds, so write it again"
        )
    if is_unscaled and intercept and not math.isnan(intercept):
        raise StudyError(
            f"{path}: a slope (scl_slope) of {slope:g} means no scaling, but the intercept (scl_inter) is "
            f"{intercept:g}; some programs add it and some do not, so set it to 0, or the slope to 1"
        )


def _check_behind_extensions(image: nib.Nifti1Image, header: nib.Nifti1Header, path: Path, offset: int) -> None:
    """Follow the chain of extensions: each says how long it is, and none may reach beyond where the voxels begin."""
    place = header.single_vox_offset
    with image.file_map["image"].get_prepare_fileobj("rb") as stream:
        stream.seek(place - _EXTENDER_BYTES)
        if stream.read(1) in (b"", b"\0"):
            return
        while place <= offset:
            stream.seek(place)
            size, code = _extension(stream.read(8), header)
            if not size:
                return
            place += size
    raise StudyError(
        f"{path}: vox_offset, where the voxels begin, is {offset}, but a header extension (code {code}) ends at "
        f"{place}; programs would read it as voxels, so write the file again"
    )


def _extension(start: bytes, header: nib.Nifti1Header) -> tuple[int, int]:
    """Size and code of the extension that begins so; 0 and 0 if none does."""
    if len(start) < 8:
        return 0, 0
    size, code = map(int, np.frombuffer(start, np.dtype("i4").newbyteorder(header.endianness)))
    is_extension = size > 0 and size % _EXTENSION_UNIT_BYTES == 0 and code in range(0, _LARGEST_EXTENSION_CODE + 1, 2)
    return (size, code) if is_extension else (0, 0)
