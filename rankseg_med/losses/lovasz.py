"""The Jaccard loss, extended from label maps to probabilities."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from rankseg_med.losses._inputs import in_full_precision, masks_of


class LovaszSoftmaxLoss(torch.nn.Module):
    r"""Lovász-Softmax: the convex surrogate of 1 - IoU.

    Berman, Triki and Blaschko, "The Lovász-Softmax loss", CVPR 2018. With errors $m_{ic} = |g_{ic} - p_{ic}|$ of the
    softmax probabilities and the one-hot target, the loss of an image is

    $$\frac{1}{|P|} \sum_{c \in P} \overline{\Delta}_c(m_c), \qquad
      \overline{\Delta}_c(m) = \sum_k m_{\pi_k} \big(\Delta_c(\{\pi_1, \ldots, \pi_k\}) - \Delta_c(\{\pi_1, \ldots,
      \pi_{k-1}\})\big),$$

    with $\pi$ the voxels by falling error, $P$ the classes that the image's labels have, background included, and
    $\Delta_c(M)$ the Jaccard loss of a label map of class $c$ that is wrong in exactly the voxels $M$. On
    probabilities of 0 and 1 it equals that Jaccard loss. Images count alike.
    """

    def forward(
        self, logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, ""]:
        """Loss of a batch; labels ``(batch, 1, *spatial)``. Classes that an image lacks have no loss there."""
        probabilities = in_full_precision(logits).softmax(1).flatten(2)
        masks = masks_of(labels, logits.shape[1]).flatten(2)
        errors, order = (masks - probabilities).abs().sort(dim=2, descending=True)
        by_class = (errors * _jaccard_steps(masks.gather(2, order)).to(errors.dtype)).sum(2)
        present = masks.any(2)
        by_image: Tensor = (by_class * present).sum(1) / present.sum(1)
        return by_image.mean()


def _jaccard_steps(masks: Int64[Tensor, "batch classes voxels"]) -> Float[Tensor, "batch classes voxels"]:
    """How much the Jaccard loss rises with each further wrong voxel, given which of them are in the structure."""
    volume = masks.sum(2, keepdim=True)
    overlap, union = volume - masks.cumsum(2), volume + (1 - masks).cumsum(2)
    losses = 1 - overlap.double() / union
    return losses.diff(dim=2, prepend=torch.zeros_like(losses[..., :1]))
