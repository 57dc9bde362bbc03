"""Pyramid pooling (PSPNet)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.networks.architectures.blocks import INSTANCE, JOINT, Norm, averaged, convolution, resized
from rankseg_med.networks.architectures.encoder import Encoder, SegResFeatures
from rankseg_med.networks.architectures.segmentation_network import SegmentationNetwork


class PyramidPooling(torch.nn.Module):
    """Features beside their means over the cells of grids of several sizes, each mean with fewer channels.

    Means are not normalised, since a mean over the image is one voxel. What fuses them is so over all channels at once:
    instance norm would remove what that mean adds, a constant in each channel.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the features, at least as many as grids.
        width: Channels of what fuses them.
        bins: Cells along each axis, of each grid.
    """

    def __init__(self, spatial_dims: int, in_channels: int, width: int, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        reduced = in_channels // len(bins)
        self.bins = tuple(bins)
        self.branches = torch.nn.ModuleList(
            convolution(spatial_dims, in_channels, reduced, 1, norm=None) for _ in self.bins
        )
        self.fuse = convolution(spatial_dims, in_channels + reduced * len(self.bins), width, 3, norm=JOINT)

    def pyramid(
        self, features: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch more_channels *spatial"]:
        """Features and means, before they are fused."""
        size = features.shape[2:]
        means = [
            resized(branch(averaged(features, [bins] * len(size))), size)
            for bins, branch in zip(self.bins, self.branches, strict=True)
        ]
        return torch.cat([features, *means], 1)

    def forward(self, features: Float[Tensor, "batch channels *spatial"]) -> Float[Tensor, "batch width *spatial"]:
        """Features and means, fused."""
        fused: Tensor = self.fuse(self.pyramid(features))
        return fused


class PSPNet(SegmentationNetwork):
    """`PyramidPooling` of the coarsest features.

    Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017. The published encoder is dilated to end at stride 8; the
    default here ends at stride 4. There is neither dropout nor a second loss at an earlier level.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes, background included.
        encoder: Images to features; by default `SegResFeatures` of 16, 32 and 64 channels at strides 1, 2 and 4.
        width: Channels before the classes.
        bins: Cells along each axis, of each grid of means.
        norm: Norm of the default encoder.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        encoder: Encoder | None = None,
        width: int = 32,
        bins: Sequence[int] = (1, 2, 3, 6),
        norm: Norm = INSTANCE,
    ) -> None:
        encoder = encoder or SegResFeatures(spatial_dims, in_channels, width=16, strides=(2, 2), norm=norm)
        super().__init__(encoder, PyramidPooling(spatial_dims, encoder.channels[-1], width, bins), width, out_channels)
