"""Cross-entropy with a weight per voxel."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn import functional as F

from rankseg_med.losses.beside_labels import WEIGHT


class WeightedCrossEntropyLoss(torch.nn.Module):
    r"""Mean of cross-entropy in which every voxel counts by its weight.

    With weights $w_i$, softmax probabilities $p_{ic}$ and classes $y_i$,

    $$-\frac{\sum_i w_i \log p_{i y_i}}{\sum_i w_i}$$

    over the whole batch. PyTorch's `CrossEntropyLoss` weighs classes.
    """

    beside_labels: ClassVar[tuple[str, ...]] = (WEIGHT,)

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
        return weighted_cross_entropy(logits.float().log_softmax(1), counted_classes(labels, weights), weights)


def counted_classes(
    labels: Shaped[Tensor, "batch 1 *spatial"], weights: Float[Tensor, "batch 1 *spatial"]
) -> Int64[Tensor, "batch *spatial"]:
    """Classes of voxels; 0 where the weight is 0: an ignored voxel may hold any value, such as 255."""
    return torch.where(weights > 0, labels, 0).squeeze(1).long()


def weighted_cross_entropy(
    log_p: Float[Tensor, "batch classes *spatial"],
    classes: Int64[Tensor, "batch *spatial"],
    weights: Float[Tensor, "batch 1 *spatial"],
) -> Float[Tensor, ""]:
    """Weighted mean of minus the classes' log-probabilities; 0 where all weights are 0."""
    weights = weights.float()
    cross_entropy = F.nll_loss(log_p, classes, reduction="none").unsqueeze(1)
    return (weights * cross_entropy).sum() / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)
