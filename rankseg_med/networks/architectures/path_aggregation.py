"""Path aggregation (PANet)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers import Conv
from torch import Tensor

from rankseg_med.networks.architectures.blocks import INSTANCE, Norm, convolution, resized
from rankseg_med.networks.architectures.encoder import Encoder, SegResFeatures
from rankseg_med.networks.architectures.segmentation_network import SegmentationNetwork


class PathAggregation(torch.nn.Module):
    """A path from coarse to fine, one from fine to coarse, and of all levels what is strongest.

    - Coarse to fine (a feature pyramid, Lin et al. 2017): each level's features, projected, plus those of the coarser
      level carried to its grid; then a convolution.
    - Fine to coarse: the finest level as it is; each further one is a convolution of its features plus those of the
      finer level, brought there by a convolution with a stride.
    - Adaptive fusion: of all levels, each convolved and carried to the finest grid, the maximum in each voxel and
      channel. The paper takes that maximum over the features of a region; here the region is the window.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the features, the finest first.
        strides: Their strides.
        width: Channels of every level, and of the result.
        norm: Norm of the convolutions; projections have none, as in the paper.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        width: int,
        norm: Norm = INSTANCE,
    ) -> None:
        super().__init__()
        linear = Conv[Conv.CONV, spatial_dims]

        def of_each(levels: Sequence[object]) -> torch.nn.ModuleList:
            return torch.nn.ModuleList(convolution(spatial_dims, width, width, 3, norm=norm) for _ in levels)

        self.laterals = torch.nn.ModuleList(linear(channels, width, kernel_size=1) for channels in in_channels)
        self.top_down = of_each(in_channels)
        steps = [[coarse // fine for fine, coarse in zip(*pair, strict=True)] for pair in pairwise(strides)]
        self.down = torch.nn.ModuleList(
            convolution(spatial_dims, width, width, 3, stride=step, norm=norm) for step in steps
        )
        self.bottom_up = of_each(steps)
        self.adapt = of_each(in_channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features ``(batch, width, *spatial)`` on the grid of the first."""
        pyramid = [lateral(level) for lateral, level in zip(self.laterals, features, strict=True)]
        for level in reversed(range(len(pyramid) - 1)):
            pyramid[level] = pyramid[level] + resized(pyramid[level + 1], pyramid[level].shape[2:])
        pyramid = [smooth(level) for smooth, level in zip(self.top_down, pyramid, strict=True)]
        path = pyramid[:1]
        for level, down, smooth in zip(pyramid[1:], self.down, self.bottom_up, strict=True):
            path.append(smooth(level + resized(down(path[-1]), level.shape[2:])))
        size = path[0].shape[2:]
        adapted = [resized(adapt(level), size) for adapt, level in zip(self.adapt, path, strict=True)]
        return torch.stack(adapted).amax(0)


class PANet(SegmentationNetwork):
    """`PathAggregation` of all features.

    Liu et al., "Path Aggregation Network for Instance Segmentation", CVPR 2018, whose heads of boxes and masks give way
    to a class for each voxel.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes, background included.
        encoder: Images to features; by default `SegResFeatures` of 8, 16, 32 and 64 channels at strides 1, 2, 4 and 8.
        width: Channels of every level.
        norm: Norm of the head and of the default encoder.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        encoder: Encoder | None = None,
        width: int = 16,
        norm: Norm = INSTANCE,
    ) -> None:
        encoder = encoder or SegResFeatures(spatial_dims, in_channels, norm=norm)
        head = PathAggregation(spatial_dims, encoder.channels, encoder.strides, width, norm)
        super().__init__(encoder, head, width, out_channels)

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """All levels count."""
        decoded: Tensor = self.head(features)
        return decoded
