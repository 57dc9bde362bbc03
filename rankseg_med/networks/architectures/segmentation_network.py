"""What the architectures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from monai.networks.layers import Conv
from torch import Tensor

from rankseg_med.networks.architectures.blocks import resized
from rankseg_med.networks.architectures.encoder import Encoder


class SegmentationNetwork(torch.nn.Module):
    """An encoder, what a published design makes of its features, and logits on the image's grid.

    Images may have any size, as long as one axis is longer than the coarsest stride there: norms of an image need two
    voxels at least.

    Args:
        encoder: Images to features.
        head: What `decode` takes features through; by default of the coarsest alone.
        width: Channels that the head gives.
        out_channels: Classes, background included.
        levels: How many features `decode` needs.
    """

    def __init__(
        self, encoder: Encoder, head: torch.nn.Module, width: int, out_channels: int, *, levels: int = 1
    ) -> None:
        super().__init__()
        if len(encoder.channels) < levels:
            raise ValueError(
                f"{type(self).__name__} needs an encoder of {levels} levels at least, got {len(encoder.channels)}"
            )
        self.encoder: Any = encoder
        self.head = head
        self.classifier = Conv[Conv.CONV, len(encoder.strides[0])](width, out_channels, kernel_size=1)

    def forward(
        self, images: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch classes *spatial"] | list[Tensor]:
        """Logits of each voxel; errors: images are too small."""
        self.check_size(images.shape[2:])
        features = self.encoder(images)
        return resized(self.classifier(self.decode(features)), images.shape[2:])

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the encoder to those that voxels are classified by, on any grid: the head of the coarsest."""
        decoded: Tensor = self.head(features[-1])
        return decoded

    def check_size(self, size: Sequence[int]) -> None:
        """Errors: an image of that size is one voxel at the coarsest stride."""
        coarsest = self.encoder.strides[-1]
        if all(length <= stride for length, stride in zip(size, coarsest, strict=True)):
            raise ValueError(
                f"an axis of the images must be longer than the encoder's coarsest stride {coarsest}, got "
                f"{tuple(size)}; make roi_size larger, or give the encoder fewer strides"
            )
