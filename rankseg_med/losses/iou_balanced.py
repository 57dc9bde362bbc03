"""Cross-entropy that attends more to structures that are found well."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses._inputs import classes_of, cross_entropies, in_full_precision, masks_of


class IoUBalancedCELoss(torch.nn.Module):
    r"""IoU-balanced classification loss, carried over from boxes to voxels.

    Wu et al., "IoU-balanced loss functions for single-stage object detection", 2019. There, a positive example is an
    anchor, and its cross-entropy is weighted by the IoU of the box that it predicts and the true one. Here, a positive
    example is a foreground voxel, and its cross-entropy is weighted by the IoU of the structure that it belongs to: of
    all voxels of its class $c$ in its image $b$,

    $$u_{bc} = \frac{\sum_i p_{ic} g_{ic}}{\sum_i (p_{ic} + g_{ic} - p_{ic} g_{ic})}$$

    with softmax probabilities $p$ and the one-hot target $g$. Of a batch of $N$ voxels with cross-entropies $\ell_i$,

    $$\frac{1}{N} \Big(\sum_{i \in \text{fg}} w_i \ell_i + \sum_{i \in \text{bg}} \ell_i\Big), \qquad
      w_i = u_i^\eta\, \frac{\sum_{j \in \text{fg}} \ell_j}{\sum_{j \in \text{fg}} u_j^\eta \ell_j}.$$

    As in the paper, the weights have no gradient, and leave the sum of the positives' losses as it is: **the value is
    that of cross-entropy**, only gradients are shared out anew, towards structures with a high IoU. A batch with one
    foreground structure has nothing to share out: all its weights are 1.

    Args:
        eta: $\eta$, at least 0; 1.5 in the paper's code. 0 gives cross-entropy.
    """

    def __init__(self, eta: float = 1.5) -> None:
        super().__init__()
        if eta < 0:
            raise ValueError(f"eta must be at least 0, got {eta}; above 0 structures with a high IoU count more")
        self.eta = eta

    def forward(
        self, logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, ""]:
        """Loss of a batch; labels ``(batch, 1, *spatial)``. Without foreground it is cross-entropy."""
        by_voxel = cross_entropies(logits, labels)
        balanced = (self._weights(logits.detach(), labels, by_voxel.detach()) * by_voxel).mean()
        # Equal but for rounding, unless a structure has no loss at all.
        return balanced + (by_voxel.mean() - balanced).detach()

    def _weights(
        self,
        logits: Float[Tensor, "batch classes *spatial"],
        labels: Shaped[Tensor, "batch 1 *spatial"],
        by_voxel: Float[Tensor, "batch *spatial"],
    ) -> Float[Tensor, "batch *spatial"]:
        classes = classes_of(labels)
        tiny = torch.finfo(by_voxel.dtype).tiny
        iou = _soft_iou(logits, labels).clamp(min=tiny)
        is_foreground = classes > 0
        of_voxels = iou.gather(1, classes.flatten(1)).reshape(classes.shape) * is_foreground
        # A common factor falls out; with this one no power underflows where it matters.
        balanced = (of_voxels / of_voxels.max().clamp(min=tiny)).pow(self.eta)
        # A cross-entropy that underflows to 0 still has a gradient, of about this size.
        losses = by_voxel.clamp(min=torch.finfo(by_voxel.dtype).eps) * is_foreground
        factor = losses.sum() / (balanced * losses).sum().clamp(min=tiny)
        return torch.where(is_foreground, balanced * factor, 1.0)


def _soft_iou(
    logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
) -> Float[Tensor, "batch classes"]:
    probabilities = in_full_precision(logits).softmax(1).flatten(2)
    masks = masks_of(labels, logits.shape[1]).flatten(2)
    overlap = (probabilities * masks).sum(2)
    return overlap / (probabilities.sum(2) + masks.sum(2) - overlap).clamp(min=torch.finfo(overlap.dtype).tiny)
