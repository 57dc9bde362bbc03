"""Reading images and label maps as MONAI tensors, refusing whatever would silently spoil a result."""

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from monai.data import MetaTensor
from monai.utils import MetaKeys
from nibabel.arrayproxy import ArrayProxy

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.header import open_nifti, reported_as_study_error

_CHUNK_BYTES = 2**20
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
    # A float64 value beyond float32 becomes infinite, which is reported below.
    with np.errstate(over="ignore"):
        voxels = np.ascontiguousarray(_read_voxels(image, path), dtype=np.float32)
    _check_voxels(np.isfinite(voxels), voxels, path, "must be finite")
    return _meta_tensor(voxels, image, path)


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
    voxels = _read_voxels(image, path)
    valid = (voxels >= 0) & (voxels <= _MAX_LABEL)
    if voxels.dtype.kind == "f":
        # Whatever overflows here is out of range already.
        with np.errstate(over="ignore"):
            voxels = voxels.astype(np.float32, copy=False)
        valid &= voxels == np.rint(voxels)
    _check_voxels(valid, voxels, path, f"of a label map must be whole numbers from 0 to {_MAX_LABEL}")
    return _meta_tensor(np.ascontiguousarray(voxels, dtype=np.uint8), image, path)


def _read_voxels(image: nib.Nifti1Pair, path: Path) -> np.ndarray:
    """Scaled voxels `(X, Y, Z)` in memory of their own, so that a later change of the file cannot reach them."""
    stored = image.dataobj
    spec = (stored.shape, stored.dtype, stored.offset, stored.slope, stored.inter)
    with reported_as_study_error(path), image.file_map["image"].get_prepare_fileobj("rb") as stream:
        voxels = np.asanyarray(ArrayProxy(stream, spec, mmap=False))
        # gzip compares the checksum only at the end of the file, where nibabel would not go.
        while stream.read(_CHUNK_BYTES):
            pass
    volume: np.ndarray = voxels.reshape(image.shape[:3])
    return volume


def _check_voxels(valid: np.ndarray, voxels: np.ndarray, path: Path, requirement: str) -> None:
    if valid.all():
        return
    first = tuple(int(index) for index in np.unravel_index(np.argmin(valid), valid.shape))
    raise StudyError(
        f"{path}: voxels {requirement}, but {valid.size - np.count_nonzero(valid)} of {valid.size} are not; the first "
        f"is {voxels[first]} at {first}"
    )


def _meta_tensor(voxels: np.ndarray, image: nib.Nifti1Pair, path: Path) -> MetaTensor:
    meta = {
        MetaKeys.ORIGINAL_AFFINE: image.affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.asarray(voxels.shape),
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),  # MONAI's word for "the file has no channel axis"
        "filename_or_obj": str(path),
    }
    return MetaTensor(torch.from_numpy(voxels)[None], affine=torch.from_numpy(image.affine.copy()), meta=meta)
