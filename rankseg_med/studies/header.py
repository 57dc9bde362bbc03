"""Opening a NIfTI file: all that its header can tell is checked before a voxel is read."""

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.naming import NIFTI_SUFFIXES, is_nifti

GRID_TOLERANCE_MM = 0.01
"""How far apart two descriptions of one place may lie: above float32 rounding over a body, far below any voxel."""

_MIN_DETERMINANT = 1e-3
"""Volume that the unit vectors of a grid's axes must span: 1 for a rotation, 0.5 for a 60 degree gantry tilt."""

_MAX_DEFLATE_RATIO = 1032
"""Deflate cannot shrink data further than this, so a larger claim by a compressed file's header is false."""

_MILLIMETRE_UNITS = (0, 2)
"""`xyzt_units` codes for unknown, which everyone reads as mm, and for mm."""

_READ_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    OverflowError,
    ImageFileError,
    HeaderDataError,
)


@contextmanager
def reported_as_study_error(path: Path) -> Iterator[None]:
    """Turn whatever nibabel, gzip and zlib raise on a damaged file into a `StudyError` that names it."""
    try:
        yield
    except StudyError:
        raise
    except _READ_ERRORS as error:
        reason = " ".join(str(error).split())  # some messages of nibabel run over several lines
        raise StudyError(f"{path}: cannot be read as NIfTI ({reason}); copy or export it again") from error


def open_nifti(path: Path) -> nib.Nifti1Pair:
    """Open one 3-D NIfTI-1 or NIfTI-2 file and check its header; voxels are not read.

    Args:
        path: a `.nii` or `.nii.gz` file, or either half of an `.img`/`.hdr` pair.

    Returns:
        The nibabel image: its `affine` maps voxel indices to RAS+ millimetres, the first three entries of its `shape`
        are X, Y and Z; any further ones are 1.

    Raises:
        StudyError: if the file is missing, is not NIfTI, does not hold exactly one non-empty 3-D volume of real
            numbers, is shorter than its header says, or has no usable geometry: a spacing that is not positive, finite
            and in mm, an affine that is not finite and invertible, or an sform and pixdim that contradict each other.
    """
    if not is_nifti(path):
        raise StudyError(f"{path}: must be a NIfTI file named {', '.join(NIFTI_SUFFIXES)}")
    if not path.is_file():
        raise StudyError(f"{path}: there is no such file")
    with reported_as_study_error(path):
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):
            raise StudyError(f"{path}: must be NIfTI-1 or NIfTI-2, got {type(image).__name__}; convert it")
        _check_volume(image, path)
        _check_geometry(image, path)
        _check_length(image, path)
    return image


def stored_header(image: nib.Nifti1Pair) -> nib.Nifti1Header:
    """The header as it lies in the file, without extensions; the one that nibabel loads has fields repaired."""
    holder = image.file_map.get("header", image.file_map["image"])
    with holder.get_prepare_fileobj("rb") as stream:
        block = stream.read(image.header_class.template_dtype.itemsize)
    return image.header_class(block, check=False)


def _check_volume(image: nib.Nifti1Pair, path: Path) -> None:
    shape = image.shape
    if len(shape) < 3:
        raise StudyError(f"{path}: must be 3-D, got {len(shape)}-D of shape {shape}; stack the slices into one volume")
    if min(shape) < 1:
        raise StudyError(f"{path}: every axis must hold a voxel, got shape {shape}")
    if math.prod(shape[3:]) != 1:
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
    affine = image.affine
    if not np.isfinite(affine).all():
        raise StudyError(f"{path}: the affine must be finite, got {affine.tolist()}")
    affine_spacing_mm = voxel_sizes(affine)
    # Columns may be zero, and then they are singular whatever they are divided by.
    if abs(np.linalg.det(affine[:3, :3] / np.maximum(affine_spacing_mm, 1e-12))) < _MIN_DETERMINANT:
        raise StudyError(f"{path}: the axes of the affine must be independent, got {affine.tolist()}")
    if (abs(affine_spacing_mm - spacing_mm) * image.shape[:3] > GRID_TOLERANCE_MM).any():
        raise StudyError(
            f"{path}: the sform says {format_vector(affine_spacing_mm)} mm between voxels and pixdim "
            f"{format_vector(spacing_mm)} mm; programs disagree on which holds, so rewrite the file with one of them"
        )


def _check_length(image: nib.Nifti1Pair, path: Path) -> None:
    """Reject a header that promises more than the file can hold, before memory is taken for it."""
    voxel_file = Path(image.file_map["image"].filename)
    size = voxel_file.stat().st_size
    most = size * _MAX_DEFLATE_RATIO if voxel_file.suffix.lower() == ".gz" else size
    needed = int(image.dataobj.offset) + math.prod(map(int, image.shape)) * image.get_data_dtype().itemsize
    if needed > most:
        raise StudyError(
            f"{path}: shape {image.shape} needs {needed} bytes, but {voxel_file.name} of {size} bytes holds {most} "
            "at most; the file is truncated, copy or export it again"
        )


def format_vector(values: np.ndarray) -> str:
    """Coordinates for a message, such as `(0.7, 0.7, 2.5)`, less the rounding of float32."""
    return "(" + ", ".join(f"{value:.7g}" for value in values.round(6) + 0.0) + ")"
