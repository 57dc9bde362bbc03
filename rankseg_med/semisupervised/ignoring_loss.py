"""Training on labels that say nothing of some voxels."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses import WeightedDiceCELoss


class IgnoringDiceCELoss(torch.nn.Module):
    """`WeightedDiceCELoss` of all voxels but those that hold the ignore index, as `PseudoLabeller` writes it.

    Args:
        ignore_index: No class.
        smooth: Smoothing of the Dice loss, positive.
    """

    def __init__(self, ignore_index: int = 255, smooth: float = 1e-5) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.loss = WeightedDiceCELoss(smooth)

    def forward(
        self, logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, ""]:
        """Loss of a batch; labels ``(batch, 1, *spatial)``. 0 where every voxel is ignored."""
        loss: Tensor = self.loss(logits, labels, (labels != self.ignore_index).float())
        return loss
