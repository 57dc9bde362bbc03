"""Opening a NIfTI file: all that its header can tell is checked before a voxel is read."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import GRID_TOLERANCE_MM, check_affine, format_vector
from rankseg_med.studies.naming import NIFTI_SUFFIXES, is_nifti
from rankseg_med.studies.nifti_storage import check_voxel_storage, stored_header
from rankseg_med.studies.reading import check_regular_file, check_size, reported_as_study_error

_MILLIMETRE_UNITS = (0, 2)
"""`xyzt_units` codes for unknown, which everyone reads as mm, and for mm."""


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
            volume of real numbers, is shorter than its header says, does not say where its voxels begin or how they
            are scaled (see `check_voxel_storage`), or has no usable geometry: a spacing that is not positive, finite
            and in mm, an affine that `check_affine` refuses, or an sform that contradicts pixdim or the qform.
    """
    if not is_nifti(path):
        raise StudyError(f"{path}: must be a NIfTI file named {', '.join(NIFTI_SUFFIXES)}")
    check_regular_file(path)
    with reported_as_study_error(path):
        _check_other_half(path)
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):
            raise StudyError(f"{path}: must be NIfTI-1 or NIfTI-2, got {type(image).__name__}; convert it")
        _check_volume(image, path, channels=channels)
        check_voxel_storage(image, path)
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
