"""Errors inside and outside of structures, weighed against each other."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses._inputs import in_full_precision, masks_of


class SensitivitySpecificityLoss(torch.nn.Module):
    r"""Mean squared error inside and outside of each structure, weighed by the sensitivity ratio.

    Brosch et al., "Deep convolutional encoder networks for multiple sclerosis lesion segmentation", MICCAI 2015. With
    softmax probabilities $p$ and the one-hot target $g$, for each image and foreground class

    $$r \frac{\sum_i (g_i - p_i)^2 g_i}{\sum_i g_i}
      + (1 - r) \frac{\sum_i (g_i - p_i)^2 (1 - g_i)}{\sum_i (1 - g_i)}.$$

    The paper has one class; here it is the mean over foreground classes and images. Where an image lacks the class, or
    consists of it, the term of no voxels is 0.

    Args:
        sensitivity_ratio: $r$, in [0, 1]; 0.05 in the paper, which found little difference between 0.01 and 0.1.
    """

    def __init__(self, sensitivity_ratio: float = 0.05) -> None:
        super().__init__()
        if not 0 <= sensitivity_ratio <= 1:
            raise ValueError(f"sensitivity_ratio must lie in [0, 1], got {sensitivity_ratio}")
        self.sensitivity_ratio = sensitivity_ratio

    def forward(
        self, logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, ""]:
        """Loss of a batch; labels ``(batch, 1, *spatial)``."""
        probabilities = in_full_precision(logits).softmax(1)[:, 1:].flatten(2)
        inside = masks_of(labels, logits.shape[1])[:, 1:].flatten(2)
        squared = (inside - probabilities).square()

        def mean_over(voxels: Tensor) -> Tensor:
            return (squared * voxels).sum(2) / voxels.sum(2).clamp(min=1)

        r = self.sensitivity_ratio
        return (r * mean_over(inside) + (1 - r) * mean_over(1 - inside)).mean()
