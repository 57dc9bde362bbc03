"""What losses have in common in which every voxel counts by its weight."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


class WeightedLoss(torch.nn.Module, ABC):
    """A loss of logits, labels and weights: what training takes where a data list has weights of voxels."""

    @abstractmethod
    def forward(
        self,
        logits: Float[Tensor, "batch classes *spatial"],
        labels: Shaped[Tensor, "batch 1 *spatial"],
        weights: Float[Tensor, "batch 1 *spatial"],
    ) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            logits: ``(batch, classes, *spatial)``, before softmax.
            labels: ``(batch, 1, *spatial)``, class of every voxel; any value where the weight is 0.
            weights: ``(batch, 1, *spatial)``, at least 0.

        Returns:
            A scalar; 0 where all weights are 0.
        """
