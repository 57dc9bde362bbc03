"""What the architectures are put together from, in 2-D and 3-D alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from monai.networks.blocks import Convolution
from torch import Tensor
from torch.nn import functional as F

Norm = str | tuple[str, dict[str, object]]
"""A norm as MONAI names it, such as ``"BATCH"`` or ``("GROUP", {"num_groups": 4})``."""

INSTANCE: Norm = ("INSTANCE", {"affine": True})

# Over all channels at once. Instance norm would remove a constant in each channel, which is what a mean over the image
# adds.
JOINT: Norm = ("GROUP", {"num_groups": 1})


def convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    norm: Norm | None,
    stride: int | Sequence[int] = 1,
    dilation: int = 1,
) -> torch.nn.Module:
    """Convolution, norm and ReLU that keep the grid but for the stride; with a bias only where there is no norm."""
    block: torch.nn.Module = Convolution(
        spatial_dims,
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        strides=stride,
        dilation=dilation,
        norm=norm,
        act="RELU",
        bias=norm is None,
    )
    return block


def resized(features: Float[Tensor, "batch channels *spatial"], size: Sequence[int]) -> Float[Tensor, "..."]:
    """Features carried to a grid of another size that covers the same field, linearly; those that have it stay."""
    if features.shape[2:] == tuple(size):
        return features
    mode = {4: "bilinear", 5: "trilinear"}[features.ndim]
    return F.interpolate(features, size=tuple(size), mode=mode, align_corners=False)


def averaged(features: Float[Tensor, "batch channels *spatial"], size: Sequence[int]) -> Float[Tensor, "..."]:
    """Means over the cells of a grid that covers the same field; cells overlap where sizes do not divide."""
    pool: Any = F.adaptive_avg_pool2d if features.ndim == 4 else F.adaptive_avg_pool3d
    means: Tensor = pool(features, tuple(size))
    return means
