"""Gated shape stream (Gated-SCNN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from monai.networks.blocks import ResidualUnit
from monai.networks.layers import Conv
from torch import Tensor
from torch.nn import functional as F

from rankseg_med.networks.architectures.atrous_spatial_pyramid import AtrousSpatialPyramid
from rankseg_med.networks.architectures.blocks import INSTANCE, Norm, averaged, convolution, resized
from rankseg_med.networks.architectures.encoder import Encoder, SegResFeatures
from rankseg_med.networks.architectures.segmentation_network import SegmentationNetwork


class GatedConvolution(torch.nn.Module):
    r"""Shape features that the encoder's let through: a convolution of 1 of $s \alpha + s$.

    The gate $\alpha$ in (0, 1), one number for each voxel, comes from the shape features and one channel that is made
    of the encoder's. Where it is 0 the shape features stay as they are, and where it is 1 they count twice.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the shape features.
        guide_channels: Channels of the encoder's.
        norm: Norm of what the gate is computed from.
    """

    def __init__(self, spatial_dims: int, channels: int, guide_channels: int, norm: Norm = INSTANCE) -> None:
        super().__init__()
        linear = Conv[Conv.CONV, spatial_dims]
        self.guide = linear(guide_channels, 1, kernel_size=1)
        self.gate = torch.nn.Sequential(
            convolution(spatial_dims, channels + 1, channels + 1, 1, norm=norm), linear(channels + 1, 1, kernel_size=1)
        )
        self.output = linear(channels, channels, kernel_size=1, bias=False)

    def forward(
        self, shape: Float[Tensor, "batch channels *spatial"], guide: Float[Tensor, "batch _ *coarse"]
    ) -> Float[Tensor, "batch channels *spatial"]:
        """Shape features on their grid."""
        guided = torch.cat([shape, resized(self.guide(guide), shape.shape[2:])], 1)
        gated: Tensor = self.output(shape * self.gate(guided).sigmoid() + shape)
        return gated


class GatedShapeStream(torch.nn.Module):
    """From the finest features, past a gate of each coarser level, to logits of the edges.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the encoder's features, the finest first.
        width: Channels of the stream.
        norm: Norm of its convolutions.
    """

    def __init__(self, spatial_dims: int, in_channels: Sequence[int], width: int, norm: Norm = INSTANCE) -> None:
        super().__init__()
        linear = Conv[Conv.CONV, spatial_dims]
        self.first = linear(in_channels[0], width, kernel_size=1)
        self.residual = torch.nn.ModuleList(
            ResidualUnit(spatial_dims, width, width, norm=norm, act="RELU", bias=False) for _ in in_channels[1:]
        )
        self.gates = torch.nn.ModuleList(
            GatedConvolution(spatial_dims, width, channels, norm) for channels in in_channels[1:]
        )
        self.edges = linear(width, 1, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits ``(batch, 1, *spatial)`` on the grid of the finest features."""
        shape = self.first(features[0])
        for residual, gate, guide in zip(self.residual, self.gates, features[1:], strict=True):
            shape = gate(residual(shape), guide)
        edges: Tensor = self.edges(shape)
        return edges


class GatedSCNN(SegmentationNetwork):
    """A `GatedShapeStream` beside the encoder, fused with it by an `AtrousSpatialPyramid`.

    Takikawa et al., "Gated-SCNN: Gated Shape CNNs for Semantic Segmentation", ICCV 2019. Of the image, the stream's
    edges are joined by the range of intensities around each voxel (largest less smallest of its 3 x 3 x 3), where the
    paper has Canny's edges. What is fused is refined with the encoder's second level.

    With ``edges_in_training`` it returns ``[logits, edges]`` in train mode, the edges' logits having one channel, as
    MONAI's networks with deep supervision return lists, for `rankseg_med.losses.DualTaskLoss`. In eval mode it always
    returns logits alone.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes, background included.
        encoder: Images to two features or more; by default `SegResFeatures` of 8, 16, 32 and 64 channels at strides 1,
            2, 4 and 8.
        width: Channels of each branch of the pyramid, and before the classes.
        shape_width: Channels of the shape stream.
        dilations: Voxels between the taps of each dilated convolution, on the coarsest grid.
        edges_in_training: Return edges as well in train mode. Without, any loss will do, and so will semi-supervised
            methods; the stream then learns by what the classes need of it alone.
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
        shape_width: int = 8,
        dilations: Sequence[int] = (1, 2, 4),
        edges_in_training: bool = False,
        norm: Norm = INSTANCE,
    ) -> None:
        encoder = encoder or SegResFeatures(spatial_dims, in_channels, norm=norm)
        head = AtrousSpatialPyramid(spatial_dims, encoder.channels[-1], width, dilations, norm, further_channels=width)
        super().__init__(encoder, head, width, out_channels, levels=2)
        self.edges_in_training = edges_in_training
        self.shape_stream = GatedShapeStream(spatial_dims, encoder.channels, shape_width, norm)
        self.combine = Conv[Conv.CONV, spatial_dims](2, 1, kernel_size=1)
        self.contour_branch = convolution(spatial_dims, 1, width, 1, norm=norm)
        self.low_level = convolution(spatial_dims, encoder.channels[1], width, 1, norm=norm)
        self.refine = convolution(spatial_dims, 2 * width, width, 3, norm=norm)

    def forward(
        self, images: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch classes *spatial"] | list[Tensor]:
        """Logits of each voxel, or a list of them and of the edges'; errors: images are too small."""
        size = images.shape[2:]
        self.check_size(size)
        features = self.encoder(images)
        edges = resized(self.shape_stream(features), size)
        contours = self.combine(torch.cat([edges.sigmoid(), _range_around(images)], 1)).sigmoid()
        contour_branch = self.contour_branch(averaged(contours, features[-1].shape[2:]))
        fused = resized(self.head(features[-1], contour_branch), features[1].shape[2:])
        refined = self.refine(torch.cat([self.low_level(features[1]), fused], 1))
        logits = resized(self.classifier(refined), size)
        return [logits, edges] if self.training and self.edges_in_training else logits


def _range_around(images: Float[Tensor, "batch channels *spatial"]) -> Float[Tensor, "batch 1 *spatial"]:
    pool = {4: F.max_pool2d, 5: F.max_pool3d}[images.ndim]
    ranges = pool(images, 3, 1, 1) + pool(-images, 3, 1, 1)
    return ranges.amax(1, keepdim=True)
