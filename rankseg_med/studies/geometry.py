"""Where voxels lie: what makes that usable, whether two files share it, and from one grid to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from jaxtyping import UInt8
from nibabel.affines import voxel_sizes

from rankseg_med.studies.errors import GridError, StudyError

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


def compare_grids(first: Path, first_grid: Grid, second: Path, second_grid: Grid) -> None:
    """Check that two files share shape, spacing, orientation and origin.

    Differences are measured as the displacement that they cause, in mm: of the first voxel for the origin, over the
    length of each axis for spacing and orientation. Up to `GRID_TOLERANCE_MM` counts as rounding.

    Args:
        first: a file, such as an image, which lies on `first_grid`.
        first_grid: shape and affine of the one.
        second: another file, such as its label map, which lies on `second_grid`.
        second_grid: shape and affine of the other.

    Raises:
        GridError: if they differ; the message names both files, each property that differs, and both its values.
    """
    grids = (first_grid, second_grid)
    shapes = [grid.shape for grid in grids]
    spacings_mm = [np.array(grid.spacing_mm) for grid in grids]
    directions = [grid.affine[:3, :3] / spacing_mm for grid, spacing_mm in zip(grids, spacings_mm, strict=True)]
    origins_mm = [grid.affine[:3, 3] for grid in grids]
    lengths_mm = np.asarray(shapes[0]) * spacings_mm[0]

    differences = []
    if shapes[0] != shapes[1]:
        differences.append(f"shape {shapes[0]} and {shapes[1]}")
    if (abs(spacings_mm[0] - spacings_mm[1]) * shapes[0] > GRID_TOLERANCE_MM).any():
        differences.append(f"spacing {format_vector(spacings_mm[0])} and {format_vector(spacings_mm[1])} mm")
    if (np.linalg.norm(directions[0] - directions[1], axis=0) * lengths_mm > GRID_TOLERANCE_MM).any():
        differences.append(f"orientation {_axes(directions[0])} and {_axes(directions[1])}")
    if np.linalg.norm(origins_mm[0] - origins_mm[1]) > GRID_TOLERANCE_MM:
        differences.append(f"origin {format_vector(origins_mm[0])} and {format_vector(origins_mm[1])} mm")
    if differences:
        raise GridError(f"{first} and {second} must share one grid, but differ in {'; '.join(differences)}")


def _axes(directions: np.ndarray) -> str:
    return " ".join(map(format_vector, directions.T))


def format_vector(values: np.ndarray) -> str:
    """Coordinates for a message, such as `(0.7, 0.7, 2.5)`, less the rounding of float32."""
    return "(" + ", ".join(f"{value:.7g}" for value in values.round(6) + 0.0) + ")"


def resample_label_map(labels: UInt8[np.ndarray, "X Y Z"], grid: Grid, target: Grid) -> UInt8[np.ndarray, "X2 Y2 Z2"]:
    """A label map on another grid: each voxel takes the label of the nearest (SimpleITK).

    Args:
        labels: labels, of the shape of their grid.
        grid: the grid that they lie on.
        target: the grid that is wanted.

    Returns:
        Labels; 0 where the label map does not reach.
    """
    source = _place(labels, grid)
    wanted = _place(np.zeros(target.shape, np.uint8), target)
    resampled = SimpleITK.Resample(source, wanted, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
    return np.ascontiguousarray(SimpleITK.GetArrayFromImage(resampled).transpose(2, 1, 0))


def _place(voxels: UInt8[np.ndarray, "X Y Z"], grid: Grid) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    affine = LPS_TO_RAS @ grid.affine
    image.SetSpacing(grid.spacing_mm)
    image.SetDirection((affine[:3, :3] / grid.spacing_mm).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image
