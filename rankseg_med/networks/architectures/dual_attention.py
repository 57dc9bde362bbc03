"""Attention among positions and among channels (DANet)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from monai.networks.layers import Conv
from torch import Tensor
from torch.nn import functional as F

from rankseg_med.networks.architectures.blocks import INSTANCE, Norm, averaged, convolution
from rankseg_med.networks.architectures.encoder import Encoder, SegResFeatures
from rankseg_med.networks.architectures.segmentation_network import SegmentationNetwork


class PositionAttention(torch.nn.Module):
    r"""Each voxel gains from all others, by how alike they are: $x_j + \gamma \sum_i s_{ji} v_i$.

    $s_j$ is the softmax over $i$ of $q_j \cdot k_i$, with $q$, $k$ and $v$ linear in the features. Keys and values are
    means over at most ``key_grid`` cells along each axis, so that n voxels have at most
    n · ``key_grid`` ** ``spatial_dims`` weights; the published n² do not fit memory in 3-D. Grids no larger than
    that are attended densely.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the features.
        key_grid: Cells along each axis.

    Attributes:
        scale: $\gamma$, which is learnt and starts at 0.
    """

    def __init__(self, spatial_dims: int, channels: int, key_grid: int = 8) -> None:
        super().__init__()
        linear = Conv[Conv.CONV, spatial_dims]
        reduced = max(1, channels // 8)
        self.key_grid = key_grid
        self.query = linear(channels, reduced, kernel_size=1)
        # A bias would add the same to all keys' logits, which softmax does not see.
        self.key = linear(channels, reduced, kernel_size=1, bias=False)
        self.value = linear(channels, channels, kernel_size=1)
        self.scale = torch.nn.Parameter(torch.zeros(()))

    def forward(self, features: Float[Tensor, "batch channels *spatial"]) -> Float[Tensor, "batch channels *spatial"]:
        """Features of the same shape."""
        means = averaged(features, [min(length, self.key_grid) for length in features.shape[2:]])
        projected = (self.query(features), self.key(means), self.value(means))
        query, key, value = (_positions_last_but_one(tensor) for tensor in projected)
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return features + self.scale * attended.transpose(1, 2).reshape(features.shape)


class ChannelAttention(torch.nn.Module):
    r"""Each channel gains from all others: $a_j + \beta \sum_i s_{ji} a_i$.

    $s_j$ is the softmax over $i$ of $a_j \cdot a_i$, as the paper has it; the authors' code subtracts the products from
    their maximum first, which favours channels that are unlike. Nothing but $\beta$ is learnt.

    Attributes:
        scale: $\beta$, which starts at 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.zeros(()))

    def forward(self, features: Float[Tensor, "batch channels *spatial"]) -> Float[Tensor, "batch channels *spatial"]:
        """Features of the same shape."""
        # Sums over all voxels, which half precision does not hold.
        with torch.autocast(features.device.type, enabled=False):
            flat = features.float().flatten(2)
            attended = (flat @ flat.transpose(1, 2)).softmax(-1) @ flat
        return features + self.scale * attended.reshape(features.shape).to(features.dtype)


class DualAttention(torch.nn.Module):
    """Sum of both attentions, each between two convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the features.
        width: Channels that are attended, and of the result.
        key_grid: See `PositionAttention`.
        norm: Norm of the convolutions.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, width: int, key_grid: int = 8, norm: Norm = INSTANCE
    ) -> None:
        super().__init__()

        def between(attention: torch.nn.Module) -> torch.nn.Sequential:
            return torch.nn.Sequential(
                convolution(spatial_dims, in_channels, width, 3, norm=norm),
                attention,
                convolution(spatial_dims, width, width, 3, norm=norm),
            )

        self.position = between(PositionAttention(spatial_dims, width, key_grid))
        self.channel = between(ChannelAttention())

    def forward(self, features: Float[Tensor, "batch channels *spatial"]) -> Float[Tensor, "batch width *spatial"]:
        """Features on the same grid."""
        fused: Tensor = self.position(features) + self.channel(features)
        return fused


class DANet(SegmentationNetwork):
    """`DualAttention` of the coarsest features.

    Fu et al., "Dual Attention Network for Scene Segmentation", CVPR 2019. The published encoder is dilated to end at
    stride 8; the default here ends at stride 4. The loss is of the sum alone, not of each attention as well.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes, background included.
        encoder: Images to features; by default `SegResFeatures` of 16, 32 and 64 channels at strides 1, 2 and 4.
        width: Channels that are attended.
        key_grid: Cells along each axis to which a voxel attends.
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
        key_grid: int = 8,
        norm: Norm = INSTANCE,
    ) -> None:
        encoder = encoder or SegResFeatures(spatial_dims, in_channels, width=16, strides=(2, 2), norm=norm)
        head = DualAttention(spatial_dims, encoder.channels[-1], width, key_grid, norm)
        super().__init__(encoder, head, width, out_channels)


def _positions_last_but_one(features: Float[Tensor, "batch channels *spatial"]) -> Float[Tensor, "batch n channels"]:
    return features.flatten(2).transpose(1, 2)
