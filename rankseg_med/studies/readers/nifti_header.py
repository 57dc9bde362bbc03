"""Headers of NIfTI files, and what of them is refused."""

from __future__ import annotations

import math
from pathlib import Path, PurePath

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes

from rankseg_med.studies.errors import StudyError, check_regular_file, check_size, reported_as_study_error
from rankseg_med.studies.geometry import GRID_TOLERANCE_MM, check_affine, format_vector

NIFTI_SUFFIXES = (".nii.gz", ".nii", ".img", ".hdr")

_EXTENDER_BYTES = 4
_EXTENSION_UNIT_BYTES = 16
_LARGEST_EXTENSION_CODE = 64
"""NIfTI gives out even codes, 44 so far."""
_MILLIMETRE_UNITS = (0, 2)
"""`xyzt_units` codes for unknown, which everyone reads as mm, and for mm."""


def is_nifti(path: PurePath) -> bool:
    """Whether a file is named as NIfTI: `.nii`, `.nii.gz`, or either half of an `.img`/`.hdr` pair, in any case."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def stored_header(image: nib.Nifti1Pair) -> nib.Nifti1Header:
    """The header as it lies in the file, without extensions; the one that nibabel loads has fields repaired."""
    holder = image.file_map.get("header", image.file_map["image"])
    with holder.get_prepare_fileobj("rb") as stream:
        block = stream.read(image.header_class.template_dtype.itemsize)
    return image.header_class(block, check=False)


def _check_voxel_storage(image: nib.Nifti1Pair, path: Path) -> None:
    """Check where voxels begin and how they are scaled, before a wrong field shifts or changes every voxel."""
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
    first = place = header.single_vox_offset
    voxel_bytes = math.prod(image.shape) * image.get_data_dtype().itemsize
    with image.file_map["image"].get_prepare_fileobj("rb") as stream:
        stream.seek(place - _EXTENDER_BYTES)
        if stream.read(1) in (b"", b"\0"):
            return
        while place <= offset:
            stream.seek(place)
            size, code = _extension(stream.read(8), header)
            if not size:
                return
            if first < place == offset:
                # Voxels may look like another extension, labels often do; then nothing lies behind them.
                stream.seek(offset + voxel_bytes)
                if not stream.read(1):
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


def open_nifti(path: Path, *, channels: bool = False) -> nib.Nifti1Pair:
    """Open one 3-D NIfTI-1 or NIfTI-2 file and check its header; voxels are not read.

    Args:
        path: a `.nii` or `.nii.gz` file, or either half of an `.img`/`.hdr` pair.
        channels: allow several volumes on one grid, such as the probabilities of several classes.

    Returns:
        The nibabel image: its `affine` maps voxel indices to RAS+ millimetres, the first three entries of its `shape`
        are X, Y and Z; any further ones are 1 unless `channels`.

    Raises:
        StudyError: if the file is missing or no regular file, is not NIfTI, does not hold exactly one non-empty 3-D
            volume of real numbers, is shorter than its header says, has a `vox_offset` or scaling that programs
            disagree on, or has no usable geometry: a spacing that is not positive, finite and in mm, an affine
            that `check_affine` refuses, or an sform that contradicts pixdim or the qform.
    """
    if not is_nifti(path):
        raise StudyError(f"{path}: must be a NIfTI file named {', '.join(NIFTI_SUFFIXES)}")
    check_regular_file(path)
    with reported_as_study_error(path):
        _check_other_half(path)
        try:
            image = nib.load(path)
        except MemoryError as error:
            raise StudyError(
                f"{path}: its header claims extensions larger than memory; copy or export it again"
            ) from error
        if not isinstance(image, nib.Nifti1Pair):
            raise StudyError(f"{path}: must be NIfTI-1 or NIfTI-2, got {type(image).__name__}; convert it")
        _check_volume(image, path, channels=channels)
        _check_voxel_storage(image, path)
        _check_geometry(image, path)
        _check_length(image, path)
    return image


def _check_other_half(path: Path) -> None:
    if path.suffix.lower() not in (".img", ".hdr"):
        return
    for half in nib.Nifti1Pair.filespec_to_file_map(path).values():
        try:
            check_regular_file(Path(half.filename))
        except StudyError as error:
            raise StudyError(f"{path}: is half of a pair, and of the pair {error}") from error


def _check_volume(image: nib.Nifti1Pair, path: Path, *, channels: bool) -> None:
    shape = image.shape
    if len(shape) < 3:
        raise StudyError(f"{path}: must be 3-D, got {len(shape)}-D of shape {shape}; stack the slices into one volume")
    if min(shape) < 1:
        raise StudyError(f"{path}: every axis must hold a voxel, got shape {shape}")
    if math.prod(shape[3:]) != 1 and not channels:
        raise StudyError(f"{path}: must hold one 3-D volume, got shape {shape}; split it into one file per volume")
    if image.get_data_dtype().kind not in "iuf":
        raise StudyError(f"{path}: voxels must be real numbers, got {image.header.get_value_label('datatype')}")


def _check_geometry(image: nib.Nifti1Pair, path: Path) -> None:
    stored = stored_header(image)
    unit = int(stored["xyzt_units"]) % 8
    if unit not in _MILLIMETRE_UNITS:
        raise StudyError(
            f"{path}: distances must be in mm (2), got xyzt_units {unit} (1 is m, 3 is micron); rescale it"
        )
    spacing_mm = stored["pixdim"][1:4].astype(float)
    if not (np.isfinite(spacing_mm) & (spacing_mm > 0)).all():
        raise StudyError(f"{path}: spacing (pixdim) must be positive and finite, got {format_vector(spacing_mm)} mm")
    check_affine(image.affine, path)
    affine_spacing_mm = voxel_sizes(image.affine)
    if (abs(affine_spacing_mm - spacing_mm) * image.shape[:3] > GRID_TOLERANCE_MM).any():
        raise StudyError(
            f"{path}: the sform says {format_vector(affine_spacing_mm)} mm between voxels and pixdim "
            f"{format_vector(spacing_mm)} mm; programs disagree on which holds, so rewrite the file with one of them"
        )
    _check_transforms_agree(image, path)


def _check_transforms_agree(image: nib.Nifti1Pair, path: Path) -> None:
    """Reject a file that some programs (nibabel) place by its sform and others by its qform, elsewhere."""
    sform, sform_code = image.get_sform(coded=True)
    qform, qform_code = image.get_qform(coded=True)
    if not (sform_code and qform_code):
        return
    corners = np.stack(np.meshgrid(*([0, size - 1] for size in image.shape[:3])), axis=-1).reshape(-1, 3)
    apart_mm = np.linalg.norm(apply_affine(sform, corners) - apply_affine(qform, corners), axis=1).max()
    # A quaternion in float32 is off by up to 0.0003 rad near half a turn, as of every image that is stored LPS.
    if not apart_mm < 0.5 * voxel_sizes(sform).min():
        raise StudyError(
            f"{path}: sform (code {sform_code}) and qform (code {qform_code}) must place the voxels alike, but are up "
            f"to {apart_mm:.4g} mm apart; programs disagree on which holds, so set the code of the wrong one to 0"
        )


def _check_length(image: nib.Nifti1Pair, path: Path) -> None:
    voxel_file = Path(image.file_map["image"].filename)
    needed = int(image.dataobj.offset) + math.prod(map(int, image.shape)) * image.get_data_dtype().itemsize
    check_size(path, voxel_file, needed, compressed=voxel_file.suffix.lower() == ".gz")
