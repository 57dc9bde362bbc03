"""Whether two files sample the same places."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rankseg_med.studies.errors import GridError
from rankseg_med.studies.geometry import GRID_TOLERANCE_MM, Grid, format_vector
from rankseg_med.studies.source import read_grid


def check_same_grid(first: Path, second: Path) -> None:
    """Check that two images share shape, spacing, orientation and origin; only headers are read.

    Differences are measured as the displacement that they cause, in mm: of the first voxel for the origin, over the
    length of each axis for spacing and orientation. Up to `GRID_TOLERANCE_MM` counts as rounding.

    Args:
        first: a file or DICOM series, such as the image (see `read_grid`).
        second: another, such as its label map.

    Raises:
        StudyError: if either header is unusable (see `read_grid`).
        GridError: if the grids differ; the message names both files, each property that differs, and both its values.
    """
    compare_grids(first, read_grid(first), second, read_grid(second))


def compare_grids(first: Path, first_grid: Grid, second: Path, second_grid: Grid) -> None:
    """`check_same_grid` for grids that were read before.

    Raises:
        GridError: as `check_same_grid`.
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
