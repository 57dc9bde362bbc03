"""Atrous spatial pyramid (DeepLab v3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.networks.architectures.blocks import INSTANCE, JOINT, Norm, averaged, convolution
from rankseg_med.networks.architectures.encoder import Encoder, SegResFeatures
from rankseg_med.networks.architectures.segmentation_network import SegmentationNetwork


class AtrousSpatialPyramid(torch.nn.Module):
    """A convolution of 1, dilated ones of 3, and the mean over the image, side by side, then fused.

    MONAI's ``SimpleASPP`` lacks the mean over the image, which is what DeepLab v3 adds to its forerunner, and norms in
    its branches. The mean and what fuses are normalised as in `PyramidPooling`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the features.
        width: Channels of each branch, and of the result.
        dilations: Voxels between the taps of each dilated convolution.
        norm: Norm of the convolutions' branches.
        further_channels: Channels of other features that are fused with the branches.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        width: int,
        dilations: Sequence[int] = (2, 4, 6),
        norm: Norm = INSTANCE,
        further_channels: int = 0,
    ) -> None:
        super().__init__()
        self.branches = torch.nn.ModuleList(
            [
                convolution(spatial_dims, in_channels, width, 1, norm=norm),
                *(convolution(spatial_dims, in_channels, width, 3, dilation=rate, norm=norm) for rate in dilations),
            ]
        )
        self.image_level = convolution(spatial_dims, in_channels, width, 1, norm=None)
        branches = len(self.branches) + 1
        self.fuse = convolution(spatial_dims, branches * width + further_channels, width, 1, norm=JOINT)

    def forward(
        self, features: Float[Tensor, "batch channels *spatial"], *further: Float[Tensor, "batch _ *spatial"]
    ) -> Float[Tensor, "batch width *spatial"]:
        """All branches, fused with further features on the same grid."""
        mean = self.image_level(averaged(features, [1] * (features.ndim - 2)))
        branches = [*(branch(features) for branch in self.branches), mean.expand(-1, -1, *features.shape[2:])]
        fused: Tensor = self.fuse(torch.cat([*branches, *further], 1))
        return fused


class DeepLabV3(SegmentationNetwork):
    """`AtrousSpatialPyramid` of the coarsest features.

    Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017. The published encoder is dilated
    to end at stride 16 or 8, with dilations 6, 12, 18 or their doubles for images of 513 pixels. Here the default ends
    at stride 4, with 2, 4, 6 for windows of some 100 voxels: taps beyond the window see nothing.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes, background included.
        encoder: Images to features; by default `SegResFeatures` of 16, 32 and 64 channels at strides 1, 2 and 4.
        width: Channels of each branch.
        dilations: Voxels between the taps of each dilated convolution, on the coarsest grid.
        norm: Norm of the branches and of the default encoder.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        encoder: Encoder | None = None,
        width: int = 32,
        dilations: Sequence[int] = (2, 4, 6),
        norm: Norm = INSTANCE,
    ) -> None:
        encoder = encoder or SegResFeatures(spatial_dims, in_channels, width=16, strides=(2, 2), norm=norm)
        head = AtrousSpatialPyramid(spatial_dims, encoder.channels[-1], width, dilations, norm)
        super().__init__(encoder, head, width, out_channels)
