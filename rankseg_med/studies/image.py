"""Reading images and label maps as MONAI tensors, refusing whatever would silently spoil a result."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Bool, Float32, Num, UInt8
from monai.data import MetaTensor
from monai.utils import MetaKeys
from nibabel.openers import Opener
from nibabel.volumeutils import apply_read_scaling

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.header import open_nifti, reported_as_study_error

_CHUNK_BYTES = 2**20
# Slices that are read, scaled and checked at a time; a row of so many float32 fills a cache line.
_SLICES = 16
_MAX_LABEL = 255


def load_image(path: Path) -> Float32[MetaTensor, "1 X Y Z"]:
    """Read one NIfTI volume, with its slope and intercept applied, in its stored orientation.

    The metadata are those that MONAI's `LoadImage` gives and its transforms and writers use (affine, original affine,
    spatial shape, file name); other header fields, which may name a patient, stay in the file.

    Args:
        path: a `.nii` or `.nii.gz` file, or either half of an `.img`/`.hdr` pair, NIfTI-1 or NIfTI-2.

    Returns:
        A channel-first tensor, contiguous; its affine maps voxel indices to RAS+ millimetres.

    Raises:
        StudyError: if the header is unusable (see `open_nifti`), the data are damaged or shorter than the header says,
            or a voxel is NaN or infinite in float32.
    """
    image = open_nifti(path)
    return _meta_tensor(_read_voxels(image, path, np.float32, np.isfinite, "must be finite"), image, path)


def load_label_map(path: Path) -> UInt8[MetaTensor, "1 X Y Z"]:
    """Read one NIfTI label map, in its stored orientation, with the same metadata as `load_image`.

    Args:
        path: as for `load_image`. Any stored type will do: floating-point and scaled values count as whole when they
            are whole in float32, which forgives the rounding of a stored slope.

    Returns:
        A channel-first tensor of labels; all 0 is a valid label map.

    Raises:
        StudyError: as `load_image`, and if a value is not a whole number from 0 to 255.
    """
    image = open_nifti(path)
    requirement = f"of a label map must be whole numbers from 0 to {_MAX_LABEL}"
    return _meta_tensor(_read_voxels(image, path, np.uint8, _are_labels, requirement), image, path)


def _are_labels(voxels: Num[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    valid: np.ndarray = (voxels >= 0) & (voxels <= _MAX_LABEL)
    return valid & (voxels == np.rint(voxels)) if voxels.dtype.kind == "f" else valid


def _read_voxels(
    image: nib.Nifti1Pair,
    path: Path,
    dtype: type[np.float32 | np.uint8],
    are_valid: Callable[[np.ndarray], np.ndarray],
    requirement: str,
) -> Num[np.ndarray, "X Y Z"]:
    """Scaled and checked voxels in memory of their own, with a few slices of overhead.

    Raises:
        StudyError: if the data are damaged, or values are not valid; how many and where the first is, in C order.
    """
    stored = image.dataobj
    voxels = np.empty(image.shape[:3], dtype)
    invalid = 0
    first: tuple[tuple[int, ...], float] | None = None
    with reported_as_study_error(path), image.file_map["image"].get_prepare_fileobj("rb") as stream:
        stream.seek(int(stored.offset))
        for start in range(0, voxels.shape[2], _SLICES):
            target = voxels[:, :, start : start + _SLICES]
            block = apply_read_scaling(_read_block(stream, target.shape, stored.dtype), stored.slope, stored.inter)
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
                target[:] = block
        # gzip compares the checksum only at the end of the file, where nibabel would not go.
        while stream.read(_CHUNK_BYTES):
            pass
    if first:
        raise StudyError(
            f"{path}: voxels {requirement}, but {invalid} of {voxels.size} are not; "
            f"the first is {first[1]} at {first[0]}"
        )
    return voxels


def _read_block(stream: Opener, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Num[np.ndarray, "X Y slices"]:
    """The next slices as they are stored."""
    size = math.prod(shape) * dtype.itemsize
    data = stream.read(size)
    if len(data) < size:
        raise OSError(f"Expected {size} more bytes, got {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape, order="F")


def _meta_tensor(voxels: np.ndarray, image: nib.Nifti1Pair, path: Path) -> MetaTensor:
    meta = {
        MetaKeys.ORIGINAL_AFFINE: image.affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.asarray(voxels.shape),
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),  # MONAI's word for "the file has no channel axis"
        "filename_or_obj": str(path),
    }
    return MetaTensor(torch.from_numpy(voxels)[None], affine=torch.from_numpy(image.affine.copy()), meta=meta)
