"""Where the voxels of a file lie, and what makes that usable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes

from rankseg_med.studies.errors import StudyError

GRID_TOLERANCE_MM = 0.01
"""How far apart two descriptions of one place may lie: above float32 rounding over a body, far below any voxel."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the patient coordinates of DICOM and ITK to those of NIfTI and MONAI, and back."""

_SINGULAR = 1e-3
_MAX_TILT_DEGREES = 30
"""CT gantries tilt up to so far, and then slices are stored along a slanted axis."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a file.

    Attributes:
        shape: number of voxels along X, Y and Z as stored, each at least 1.
        affine: `(4, 4)`, from voxel indices to RAS+ millimetres.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along X, Y and Z."""
        x, y, z = map(float, voxel_sizes(self.affine))
        return x, y, z


def check_affine(affine: np.ndarray, path: Path) -> None:
    """Check that an affine spans space, and is not sheared beyond what a tilted gantry does.

    Args:
        affine: `(4, 4)`, from voxel indices to millimetres.
        path: the file that has it.

    Raises:
        StudyError: if an entry is not finite, the axes are not independent, or they are more than 30 degrees away
            from perpendicular.
    """
    if not np.isfinite(affine).all():
        raise StudyError(f"{path}: the affine must be finite, got {affine.tolist()}")
    # Columns may be zero, and then they are singular whatever they are divided by.
    axes = affine[:3, :3] / np.maximum(voxel_sizes(affine), 1e-12)
    volume = abs(np.linalg.det(axes))
    if volume < _SINGULAR:
        raise StudyError(f"{path}: the axes of the affine must be independent, got {affine.tolist()}")
    # Of one slanted axis, the volume of the three unit vectors is the cosine of the tilt; half a degree for rounding.
    if volume < np.cos(np.deg2rad(_MAX_TILT_DEGREES + 0.5)):
        raise StudyError(
            f"{path}: the axes must be perpendicular but for a gantry's tilt of up to {_MAX_TILT_DEGREES} degrees, "
            f"got the sheared affine {affine.tolist()}; resample it onto perpendicular axes"
        )


def format_vector(values: np.ndarray) -> str:
    """Coordinates for a message, such as `(0.7, 0.7, 2.5)`, less the rounding of float32."""
    return "(" + ", ".join(f"{value:.7g}" for value in values.round(6) + 0.0) + ")"
