"""Erosion and dilation of probabilities by pooling, which are those of masks where all of them are 0 or 1."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def dilated(
    probabilities: Float[Tensor, "batch classes *spatial"], radius: int
) -> Float[Tensor, "batch classes *spatial"]:
    """Maximum over the cube of ``2 * radius + 1`` voxels around each; what lies outside of the image does not count."""
    axes = probabilities.ndim - 2
    for axis in range(axes):
        kernel, padding = [1] * axes, [0] * axes
        kernel[axis], padding[axis] = 2 * radius + 1, radius
        probabilities = _MAX_POOL[axes](probabilities, kernel, stride=1, padding=padding)
    return probabilities


def eroded(
    probabilities: Float[Tensor, "batch classes *spatial"], radius: int
) -> Float[Tensor, "batch classes *spatial"]:
    """Minimum over the same cube, so that the image's border is no boundary."""
    return -dilated(-probabilities, radius)
