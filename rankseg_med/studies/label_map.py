"""Writing label maps on exactly the grid of the image they belong to."""

from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from rankseg_med.studies.atomic import atomic_write
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.header import open_nifti, stored_header

_MAX_LABEL = 255
_NIFTI2_HEADER_BYTES = 540

_GEOMETRY_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)


def write_label_map(labels: torch.Tensor | np.ndarray, path: Path, grid_of: Path) -> None:
    """Write a label map as uint8 NIfTI on the grid of its image, atomically.

    The header's geometry is copied field by field, not computed again, so every program places the label map exactly
    where it places the image. Nothing else of the source's header is carried over: descriptions and extensions may
    name the patient, and intent and display range are the image's.

    Args:
        labels: `(X, Y, Z)` whole numbers from 0 to 255 of any integer type, on any device; all 0 is valid.
        path: where it goes, ending in `.nii` or `.nii.gz`; missing folders are made, an existing file is replaced.
        grid_of: the image that was segmented. NIfTI-2 gives NIfTI-2; everything else gives NIfTI-1.

    Raises:
        StudyError: if the labels are not `(X, Y, Z)` integers from 0 to 255 of the image's shape, if `path` is not
            named as a single NIfTI file, or if the image's header is unusable (see `open_nifti`).
        OSError: if the file cannot be written.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise StudyError(f"{path}: a label map must be written to a file named .nii or .nii.gz")
    source = open_nifti(grid_of)
    voxels = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else labels
    _check_labels(voxels, path)
    if voxels.shape != source.shape[:3]:
        raise StudyError(
            f"{path}: labels must have the shape {source.shape[:3]} of {grid_of}, got {voxels.shape}; drop a channel "
            "axis, and invert any cropping, resampling or reorientation first"
        )

    stored = stored_header(source)
    nifti = nib.Nifti2Image if stored["sizeof_hdr"] == _NIFTI2_HEADER_BYTES else nib.Nifti1Image
    label_map = nifti(voxels.astype(np.uint8, copy=False), affine=None)
    for field in _GEOMETRY_FIELDS:
        label_map.header[field] = stored[field]
    with atomic_write(path) as temporary:
        label_map.to_filename(temporary)


def _check_labels(voxels: np.ndarray, path: Path) -> None:
    if voxels.dtype.kind not in "iu":
        raise StudyError(
            f"{path}: labels must be of an integer type, got {voxels.dtype}; convert them, such as to uint8"
        )
    if voxels.size and (voxels.min() < 0 or voxels.max() > _MAX_LABEL):
        raise StudyError(
            f"{path}: labels must lie between 0 and {_MAX_LABEL}, got {voxels.min()} to {voxels.max()}; they are "
            "written as uint8 and never clipped"
        )
