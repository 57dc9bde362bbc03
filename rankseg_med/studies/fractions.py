"""Writing what lies between 0 and 1 in every voxel: soft labels, weights."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Float

from rankseg_med.studies.atomic import atomic_write
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.source import read_grid

_LEVELS = 65_535
_SCANNER = 1  # NIfTI's code for coordinates of the scanner


def write_fractions(values: Float[torch.Tensor, "X Y Z *channels"], path: Path, grid_of: Path) -> None:
    """Write values in [0, 1] as NIfTI on the grid of an image, atomically.

    They are stored in two bytes each, rounded to 65,536 levels; the header's slope makes readers give them back as
    fractions.

    Args:
        values: `(X, Y, Z)`, or `(X, Y, Z, channels)` for a 4-D file.
        path: where it goes, ending in `.nii` or `.nii.gz`; an existing file is replaced.
        grid_of: the image whose grid it has: any that `open_image` takes.

    Raises:
        StudyError: the values leave [0, 1] or have another shape than the image, or its header is unusable.
        OSError: the file cannot be written.
    """
    grid = read_grid(grid_of)
    if tuple(values.shape[:3]) != grid.shape:
        raise StudyError(f"{path}: must have the shape {grid.shape} of {grid_of}, got {tuple(values.shape[:3])}")
    # Also false for NaN.
    if values.numel() and not (float(values.min()) >= 0 and float(values.max()) <= 1):
        raise StudyError(f"{path}: values must lie in [0, 1], got {float(values.min())} to {float(values.max())}")
    levels = np.empty(tuple(values.shape), np.uint16)
    # Plane by plane, for the sake of memory.
    for plane, rounded in zip(values, levels, strict=True):
        rounded[...] = (plane.cpu() * _LEVELS).round_().numpy()
    fractions = nib.Nifti1Image(levels, grid.affine, dtype=np.uint16)
    fractions.header.set_slope_inter(1 / _LEVELS, 0)
    fractions.header.set_xyzt_units("mm")
    fractions.set_sform(grid.affine, code=_SCANNER)
    with atomic_write(path) as temporary:
        fractions.to_filename(temporary)
