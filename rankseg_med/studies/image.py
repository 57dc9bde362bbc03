"""Reading images and label maps as MONAI tensors, refusing whatever would silently spoil a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Num, UInt8
from monai.data import MetaTensor
from monai.utils import MetaKeys

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import Grid, compare_grids
from rankseg_med.studies.readers import Reader, open_image

_MAX_LABEL = 255


def load_image(path: Path) -> Float32[MetaTensor, "1 X Y Z"]:
    """Read one volume, with its slope and intercept applied, in its stored orientation.

    The metadata are those that MONAI's `LoadImage` gives and its transforms and writers use (affine, original affine,
    spatial shape, file name); other header fields, which may name a patient, stay in the file.

    Args:
        path: NIfTI, NRRD, MetaImage, or a folder of one DICOM series; see `open_image`.

    Returns:
        A channel-first tensor, contiguous; its affine maps voxel indices to RAS+ millimetres.

    Raises:
        StudyError: if the header is unusable (see `open_image`), the data are damaged or shorter than the header says,
            or a voxel is NaN or infinite in float32.
    """
    return load_images([path])


def load_images(paths: Sequence[Path]) -> Float32[MetaTensor, "channels X Y Z"]:
    """Read the images of one study, which share a grid, as channels.

    Args:
        paths: at least one, in the order of the channels; each as for `load_image`.

    Returns:
        As `load_image`, with a channel per image and the name of the first.

    Raises:
        StudyError: as `load_image`, and if no path is given.
        GridError: if an image is not on the grid of the first; before voxels are read.
    """
    if not paths:
        raise StudyError("a study must have at least one image, got none")
    sources = [open_image(path) for path in paths]
    grid = sources[0].grid
    for path, source in zip(paths[1:], sources[1:], strict=True):
        compare_grids(paths[0], grid, path, source.grid)
    voxels = np.empty((len(paths), *grid.shape), np.float32)
    for path, source, channel in zip(paths, sources, voxels, strict=True):
        _read_into(channel, source, path, np.isfinite, "must be finite")
    return meta_tensor(voxels, grid, paths[0])


def load_label_map(path: Path) -> UInt8[MetaTensor, "1 X Y Z"]:
    """Read one label map, in its stored orientation, with the same metadata as `load_image`.

    Args:
        path: as for `load_image`. Any stored type will do: floating-point and scaled values count as whole when they
            are whole in float32, which forgives the rounding of a stored slope.

    Returns:
        A channel-first tensor of labels; all 0 is a valid label map.

    Raises:
        StudyError: as `load_image`, and if a value is not a whole number from 0 to 255.
    """
    source = open_image(path)
    voxels = np.empty((1, *source.grid.shape), np.uint8)
    requirement = f"of a label map must be whole numbers from 0 to {_MAX_LABEL}"
    _read_into(voxels[0], source, path, _are_labels, requirement)
    return meta_tensor(voxels, source.grid, path)


def _are_labels(voxels: Num[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    valid: np.ndarray = (voxels >= 0) & (voxels <= _MAX_LABEL)
    return valid & (voxels == np.rint(voxels)) if voxels.dtype.kind == "f" else valid


def _read_into(
    voxels: Num[np.ndarray, "X Y Z"],
    source: Reader,
    path: Path,
    are_valid: Callable[[np.ndarray], np.ndarray],
    requirement: str,
) -> None:
    """Fill an array with checked voxels, with a few slices of overhead; the error names the first in C order."""
    invalid = 0
    first: tuple[tuple[int, int, int], float] | None = None
    start = 0
    for block in source.blocks():
        if block.dtype.kind == "f":
            # What float32 cannot hold becomes infinite, which is not valid.
            with np.errstate(over="ignore"):
                block = block.astype(np.float32, copy=False)
        valid = are_valid(block)
        if not valid.all():
            place = np.unravel_index(np.argmin(valid), valid.shape)
            found = (int(place[0]), int(place[1]), int(place[2]) + start), block[place]
            first = min(first or found, found, key=lambda item: item[0])
            invalid += int(np.count_nonzero(~valid))
        elif not invalid:
            voxels[:, :, start : start + block.shape[2]] = block
        start += block.shape[2]
    if first:
        raise StudyError(
            f"{path}: voxels {requirement}, but {invalid} of {voxels.size} are not; "
            f"the first is {first[1]} at {first[0]}"
        )


def meta_tensor(voxels: Num[np.ndarray, "channels X Y Z"], grid: Grid, path: Path) -> MetaTensor:
    """Voxels of a file with the metadata of `load_image`; they are not copied."""
    meta = {
        MetaKeys.ORIGINAL_AFFINE: grid.affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.asarray(grid.shape),
        # MONAI's word for "the file has no channel axis".
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan") if len(voxels) == 1 else 0,
        "filename_or_obj": str(path),
    }
    return MetaTensor(torch.from_numpy(voxels), affine=torch.from_numpy(grid.affine.copy()), meta=meta)
