"""Joint pyramid upsampling (FastFCN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from torch import Tensor

from rankseg_med.networks.architectures.blocks import INSTANCE, Norm, convolution, resized
from rankseg_med.networks.architectures.encoder import Encoder, SegResFeatures
from rankseg_med.networks.architectures.segmentation_network import SegmentationNetwork


class JointPyramidUpsampling(torch.nn.Module):
    """Features at three strides to what a dilated encoder would have computed at the finest of them.

    Each is convolved, the two coarser ones are carried to the grid of the finest, and all three go through separable
    convolutions of several dilations side by side.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the three, the finest first.
        width: Channels of each, and of what each dilation gives.
        dilations: Voxels between the taps of each separable convolution.
        norm: Norm of all convolutions.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: Sequence[int],
        width: int,
        dilations: Sequence[int] = (1, 2, 4, 8),
        norm: Norm = INSTANCE,
    ) -> None:
        super().__init__()
        self.laterals = torch.nn.ModuleList(
            convolution(spatial_dims, channels, width, 3, norm=norm) for channels in in_channels
        )
        joint = width * len(in_channels)
        self.dilated = torch.nn.ModuleList(
            _separable(spatial_dims, joint, width, dilation, norm) for dilation in dilations
        )
        self.out_channels = width * len(dilations)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features ``(batch, width * dilations, *spatial)`` on the grid of the first."""
        size = features[0].shape[2:]
        joint = torch.cat(
            [resized(lateral(level), size) for lateral, level in zip(self.laterals, features, strict=True)], 1
        )
        return torch.cat([branch(joint) for branch in self.dilated], 1)


class FastFCN(SegmentationNetwork):
    """`JointPyramidUpsampling` of the three coarsest features, and one more convolution.

    Wu et al., "FastFCN: Rethinking Dilated Convolution in the Backbone for Semantic Segmentation", 2019, with the head
    of a plain fully convolutional network. The published features have strides 8, 16 and 32, here by default 2, 4, 8.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes, background included.
        encoder: Images to three features or more; by default `SegResFeatures` of 8, 16, 32 and 64 channels at strides
            1, 2, 4 and 8.
        width: Channels of each of the three, of what each dilation gives, and before the classes.
        dilations: Voxels between the taps of each separable convolution.
        norm: Norm of the head and of the default encoder.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        encoder: Encoder | None = None,
        width: int = 32,
        dilations: Sequence[int] = (1, 2, 4, 8),
        norm: Norm = INSTANCE,
    ) -> None:
        encoder = encoder or SegResFeatures(spatial_dims, in_channels, norm=norm)
        upsampling = JointPyramidUpsampling(spatial_dims, encoder.channels[-3:], width, dilations, norm)
        last = convolution(spatial_dims, upsampling.out_channels, width, 3, norm=norm)
        super().__init__(encoder, torch.nn.Sequential(upsampling, last), width, out_channels, levels=3)

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The three coarsest count."""
        decoded: Tensor = self.head(features[-3:])
        return decoded


def _separable(spatial_dims: int, in_channels: int, out_channels: int, dilation: int, norm: Norm) -> torch.nn.Module:
    """A dilated convolution of each channel by itself, then a convolution of 1 across channels."""
    by_channel = Convolution(
        spatial_dims,
        in_channels,
        in_channels,
        kernel_size=3,
        dilation=dilation,
        groups=in_channels,
        norm=norm,
        act=None,
        bias=False,
    )
    return torch.nn.Sequential(by_channel, convolution(spatial_dims, in_channels, out_channels, 1, norm=norm))
