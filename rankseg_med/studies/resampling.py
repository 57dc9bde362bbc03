"""A label map on the grid of another file."""

from pathlib import Path

import numpy as np
import SimpleITK
from jaxtyping import UInt8
from nibabel.affines import voxel_sizes

from rankseg_med.studies.image import load_label_map
from rankseg_med.studies.source import read_grid

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def resample_label_map(path: Path, grid_of: Path) -> UInt8[np.ndarray, "X Y Z"]:
    """Read a label map onto the grid of another file: each voxel takes the label of the nearest (SimpleITK).

    Args:
        path: the label map, see `load_label_map`.
        grid_of: the file whose shape, spacing, orientation and origin are wanted.

    Returns:
        Labels; 0 where the label map does not reach.

    Raises:
        StudyError: a file is unusable, see `load_label_map` and `read_grid`.
    """
    labels = load_label_map(path)
    target = read_grid(grid_of)
    source = _place(labels[0].numpy(), np.asarray(labels.affine))
    grid = _place(np.zeros(target.shape, np.uint8), target.affine)
    resampled = SimpleITK.Resample(source, grid, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
    voxels: UInt8[np.ndarray, "X Y Z"] = SimpleITK.GetArrayFromImage(resampled).transpose(2, 1, 0)
    return np.ascontiguousarray(voxels)


def _place(voxels: UInt8[np.ndarray, "X Y Z"], affine: np.ndarray) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    spacing_mm = voxel_sizes(affine)
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((_RAS_TO_LPS @ (affine[:3, :3] / spacing_mm)).ravel().tolist())
    image.SetOrigin((_RAS_TO_LPS @ affine[:3, 3]).tolist())
    return image
