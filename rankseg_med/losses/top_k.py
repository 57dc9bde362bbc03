"""Cross-entropy of the hardest voxels."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses._inputs import cross_entropies


class TopKCELoss(torch.nn.Module):
    r"""Mean cross-entropy of the $k$ percent of a batch's voxels that have the largest.

    Wu, Shen and van den Hengel, "Bridging category-level and instance-level semantic image segmentation", 2016; the
    TopK loss of nnU-Net. With $T$ the $\max(1, \lfloor k N / 100 \rfloor)$ hardest of all $N$ voxels of the batch,

    $$-\frac{1}{|T|} \sum_{i \in T} \log p_{i g_i}.$$

    Args:
        percent: $k$, above 0, at most 100; 100 gives the mean over all voxels.
    """

    def __init__(self, percent: float = 10.0) -> None:
        super().__init__()
        if not 0 < percent <= 100:
            raise ValueError(f"percent must be above 0 and at most 100, got {percent}")
        self.percent = percent

    def forward(
        self, logits: Float[Tensor, "batch classes *spatial"], labels: Shaped[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, ""]:
        """Loss of a batch; labels ``(batch, 1, *spatial)``."""
        by_voxel = cross_entropies(logits, labels).flatten()
        hardest = by_voxel.topk(max(1, int(len(by_voxel) * self.percent / 100)), sorted=False)
        return hardest.values.mean()
