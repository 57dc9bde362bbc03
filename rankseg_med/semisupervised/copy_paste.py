"""The box that is cut out of one image and filled from another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

# 0.29 * 100 is 28.999999999999996 in floating point, and is to be 29.
_ROUNDING = 1e-9


def copy_paste_mask(
    spatial_shape: Sequence[int],
    box_ratio: float | Sequence[float] = 2 / 3,
    *,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "*spatial"]:
    """True everywhere but in one box at a random place, every place being as probable.

    Bidirectional copy-paste (Bai et al., CVPR 2023) takes two thirds of every side, rounded down: 74 x 74 x 53 of
    112 x 112 x 80.

    Args:
        spatial_shape: Shape of the images.
        box_ratio: Side of the box by side of the image, in (0, 1]; one for all axes, or one each.
        generator: Draws the place, on the CPU; by default PyTorch's own.

    Returns:
        The mask ``(*spatial)``, on the CPU. The box has one voxel along each axis at least.

    Raises:
        ValueError: A ratio is out of its range, or there are not as many as axes.
    """
    check_box_ratio(box_ratio)
    ratios = list(box_ratio) if isinstance(box_ratio, Sequence) else [box_ratio] * len(spatial_shape)
    if len(ratios) != len(spatial_shape):
        raise ValueError(f"box_ratio must be in (0, 1], one or one per axis of {tuple(spatial_shape)}, got {box_ratio}")
    mask = torch.ones(tuple(spatial_shape), dtype=torch.bool)
    box = []
    for size, ratio in zip(spatial_shape, ratios, strict=True):
        side = max(1, int(size * ratio + _ROUNDING))
        start = int(torch.randint(size - side + 1, (1,), generator=generator))
        box.append(slice(start, start + side))
    mask[tuple(box)] = False
    return mask


def check_box_ratio(box_ratio: float | Sequence[float]) -> None:
    """Make sure that sides of a box are parts of those of an image.

    Raises:
        ValueError: They are not in (0, 1].
    """
    if not all(0 < ratio <= 1 for ratio in (box_ratio if isinstance(box_ratio, Sequence) else [box_ratio])):
        raise ValueError(f"box_ratio must be in (0, 1], one or one per axis, got {box_ratio}")


def paste(
    outside: Shaped[Tensor, "*batch"], inside: Shaped[Tensor, "*batch"], mask: Bool[Tensor, "*spatial"]
) -> Shaped[Tensor, "*batch"]:
    """One where the mask is true, the other where it is not; the mask is shared by the batch.

    Args:
        outside: ``(batch, channels, *spatial)``.
        inside: Tensor of the same shape.
        mask: ``(*spatial)``.
    """
    return torch.where(mask, outside, inside)
