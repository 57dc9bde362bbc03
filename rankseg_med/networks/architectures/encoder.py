"""Encoders: images to features at several strides."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from monai.networks.nets.segresnet_ds import SegResEncoder
from torch import Tensor

from rankseg_med.networks.architectures.blocks import INSTANCE, Norm

Stride = int | Sequence[int]
"""Of all axes alike, or of each."""


@runtime_checkable
class Encoder(Protocol):
    """A module from images to features, the finest first, which says what heads are built from.

    Attributes:
        channels: Channels of each.
        strides: Voxels of the image from one voxel of the features to the next, for each of the features and axes.
    """

    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    def __call__(self, images: Float[Tensor, "batch channels *spatial"]) -> list[Tensor]: ...  # noqa: D102


class SegResFeatures(SegResEncoder):
    r"""Encoder of MONAI's `SegResNetDS`: residual blocks, and between them convolutions with a stride.

    Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018. There is one more
    level than strides. The first has the image's grid and ``width`` channels, each further one twice as many. An image
    of n voxels along an axis has ⌈n / stride⌉ features there. A level does not look along the axes along which it does
    not stride (its kernels have 1 there), as nnU-Net has it for thick slices.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        width: Channels of the first level.
        strides: From level to level; ``[[2, 2, 1], [2, 2, 2]]`` for crops of few slices.
        blocks: Residual blocks of each level, of two convolutions each.
        norm: Norm of the blocks.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        *,
        width: int = 8,
        strides: Sequence[Stride] = (2, 2, 2),
        blocks: int = 1,
        norm: Norm = INSTANCE,
    ) -> None:
        steps = [_of_each_axis(stride, spatial_dims) for stride in strides]
        super().__init__(
            spatial_dims=spatial_dims,
            init_filters=width,
            in_channels=in_channels,
            norm=norm,
            blocks_down=(blocks,) * (len(steps) + 1),
            # The last level's makes its kernels alone.
            anisotropic_scales=(*steps, (2,) * spatial_dims),
        )
        self.channels = tuple(width * 2**level for level in range(len(steps) + 1))
        self.strides = tuple(accumulate([(1,) * spatial_dims, *steps], _product))


class FeatureEncoder(torch.nn.Module):
    """Any module that returns a list of features, with what heads are to know of them.

    MONAI's ``ResNetFeatures`` (strides 2, 4, 8, 16, 32; ``pretrained`` fetches MedicalNet's weights) and
    ``EfficientNetBNFeatures`` are such modules. Both have batch norm by default, and stride along all axes alike.

    Args:
        module: From images to features, the finest first.
        channels: Channels of each.
        strides: Stride of each against the image.
        spatial_dims: 2 or 3.
    """

    def __init__(
        self, module: torch.nn.Module, channels: Sequence[int], strides: Sequence[Stride], *, spatial_dims: int = 3
    ) -> None:
        super().__init__()
        if len(channels) != len(strides):
            raise ValueError(f"channels and strides must be of the same features, got {channels} and {strides}")
        self.module = module
        self.channels = tuple(channels)
        self.strides = tuple(_of_each_axis(stride, spatial_dims) for stride in strides)

    def forward(self, images: Float[Tensor, "batch channels *spatial"]) -> list[Tensor]:
        """Features, the finest first; errors: they have other channels or strides than was said."""
        features: list[Any] = list(self.module(images))
        found = tuple(feature.shape[1] for feature in features)
        if found != self.channels:
            raise ValueError(f"the encoder's features must have {self.channels} channels, got {found}; set channels")
        size = tuple(images.shape[2:])
        for feature, strides in zip(features, self.strides, strict=True):
            sides = tuple(feature.shape[2:])
            # Rounded up or down, as the module pads.
            if any(abs(side - whole / stride) >= 1 for side, whole, stride in zip(sides, size, strides, strict=True)):
                raise ValueError(
                    f"a feature's sides must be those of the image, {size}, divided by its strides, {strides}, got "
                    f"{sides}; set strides"
                )
        return features


def _of_each_axis(stride: Stride, spatial_dims: int) -> tuple[int, ...]:
    steps = (stride,) * spatial_dims if isinstance(stride, int) else tuple(stride)
    if len(steps) != spatial_dims or min(steps) < 1:
        raise ValueError(
            f"a stride must be a whole number from 1 on, or one for each of {spatial_dims} axes, got {stride}"
        )
    return steps


def _product(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a * b for a, b in zip(first, second, strict=True))
