"""What every job does to a label map before it is written, and what it says of it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor


def cleaned(
    label_map: UInt8[Tensor, "X Y Z"], cleanup: Transform | None, affine: Float64[np.ndarray, "4 4"]
) -> UInt8[Tensor, "X Y Z"]:
    """The label map after a cleanup transform of ``(1, X, Y, Z)``; some ask for volumes, so it gets the affine (mm)."""
    if cleanup is None:
        return label_map
    result: Tensor = cleanup(MetaTensor(label_map[None], affine=affine)).as_tensor()[0]
    return result


def volumes_ml(label_map: UInt8[Tensor, "X Y Z"], affine: Float64[np.ndarray, "4 4"]) -> dict[str, float]:
    """Volume of each label that occurs, in ml, for a sidecar; empty for an empty label map."""
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    voxels = torch.bincount(label_map.flatten()).tolist()
    return {str(label): number * voxel_ml for label, number in enumerate(voxels) if label and number}
