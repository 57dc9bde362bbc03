"""Cross-entropy in which rare classes count as much as frequent ones."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses._inputs import classes_of, cross_entropies


class FrequencyWeightedCELoss(torch.nn.Module):
    r"""Cross-entropy weighted by the inverse frequency of each class.

    As Ronneberger et al. balance class frequencies ("U-Net", MICCAI 2015), by those of the batch itself. With $n_c$
    voxels of class $c$ in the batch,

    $$-\frac{\sum_i w_{g_i} \log p_{i g_i}}{\sum_i w_{g_i}}, \qquad w_c = n_c^{-\alpha}.$$

    With $\alpha = 1$ that is the mean over the classes that occur of their mean cross-entropy; with 0 it is plain
    cross-entropy.

    Args:
        power: $\alpha$, at least 0.
    """

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        if power < 0:
            raise ValueError(f"power must be at least 0, got {power}; above 0 rare classes count more")
        self.power = power

    def forward(
        self, logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, ""]:
        """Loss of a batch; labels ``(batch, 1, *spatial)``. Classes that the batch lacks have no part in it."""
        by_voxel, classes = cross_entropies(logits, labels), classes_of(labels)
        counts = classes.flatten().bincount(minlength=logits.shape[1])
        weights = counts.clamp(min=1).to(by_voxel.dtype).pow(-self.power)[classes]
        return (weights * by_voxel).sum() / weights.sum()
