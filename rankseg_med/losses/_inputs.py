"""What losses make of their inputs first."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn import functional as F


def in_full_precision(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A plain tensor of at least single precision: sums over the voxels of a patch overflow half precision."""
    return values.as_subclass(Tensor).to(torch.promote_types(values.dtype, torch.float32))


def classes_of(labels: Shaped[Tensor, "batch 1 *spatial"]) -> Int64[Tensor, "batch *spatial"]:
    """Class of every voxel, without the channel axis."""
    return labels.as_subclass(Tensor)[:, 0].long()


def masks_of(labels: Shaped[Tensor, "batch 1 *spatial"], classes: int) -> Int64[Tensor, "batch classes *spatial"]:
    """One mask of zeros and ones for each class."""
    return F.one_hot(classes_of(labels), classes).movedim(-1, 1)


def cross_entropies(
    logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
) -> Float[Tensor, "batch *spatial"]:
    """Cross-entropy of every voxel."""
    return F.cross_entropy(in_full_precision(logits), classes_of(labels), reduction="none")
