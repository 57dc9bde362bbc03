"""Dice and cross-entropy with a weight per voxel."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from rankseg_med.losses.beside_labels import WEIGHT
from rankseg_med.losses.weighted_cross_entropy import counted_classes, weighted_cross_entropy


class WeightedDiceCELoss(torch.nn.Module):
    r"""Mean of soft Dice loss and cross-entropy in which every voxel counts by its weight.

    With weights $w_i$, softmax probabilities $p_{ic}$ and the one-hot target $g_{ic}$,

    $$\frac{1}{2}\Big(1 - \frac{1}{C}\sum_c \frac{2\sum_i w_i p_{ic} g_{ic} + s}{\sum_i w_i (p_{ic} + g_{ic}) + s}\Big)
      - \frac{1}{2} \frac{\sum_i w_i \sum_c g_{ic} \log p_{ic}}{\sum_i w_i},$$

    Dice for each image by itself, cross-entropy over the whole batch: the loss of a region in bidirectional copy-paste
    (Bai et al., CVPR 2023), where weights are 1 in the region and 0 elsewhere. MONAI's `MaskedDiceLoss` multiplies
    probabilities and target by the mask each, so it takes binary masks only, and its `DiceCELoss` weighs classes.

    Args:
        smooth: $s$, positive; a class that an image lacks and that is not predicted either has no loss.
    """

    beside_labels: ClassVar[tuple[str, ...]] = (WEIGHT,)

    def __init__(self, smooth: float = 1e-5) -> None:
        super().__init__()
        if smooth <= 0:
            raise ValueError(f"smooth must be positive, so that absent classes are defined, got {smooth}")
        self.smooth = smooth

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
        classes = counted_classes(labels, weights)
        weights = weights.float()
        log_p = logits.float().log_softmax(1)
        mean_cross_entropy = weighted_cross_entropy(log_p, classes, weights)

        p, target = log_p.exp(), F.one_hot(classes, logits.shape[1]).movedim(-1, 1)
        spatial = tuple(range(2, logits.ndim))
        overlap = (weights * p * target).sum(spatial)
        volumes = (weights * (p + target)).sum(spatial)
        dice = (2 * overlap + self.smooth) / (volumes + self.smooth)
        return (1 - dice.mean() + mean_cross_entropy) / 2
