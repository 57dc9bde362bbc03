"""Cross-entropy that counts more near the boundary."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses._inputs import classes_of, cross_entropies, in_full_precision
from rankseg_med.losses.beside_labels import DISTANCES


class DistancePenalisedCELoss(torch.nn.Module):
    r"""Cross-entropy with a penalty that falls with the distance to the boundary.

    Calivá et al., "Distance map loss penalty term for semantic segmentation", MIDL 2019:

    $$-\frac{1}{N} \sum_i (1 + \Phi_i) \log p_{i g_i}, \qquad
      \Phi_i = \frac{d^{\max} - d_i}{d^{\max} - d^{\min}},$$

    where $d_i$ is the distance in mm of voxel $i$ to the nearest one of another class, and the largest and smallest are
    of the voxels of its class in its image: the voxels nearest to the boundary count twice, the deepest of their class
    once. Where voxels are as long as wide, all that border on another class are nearest.
    The abstract describes the inverted map in words; this normalisation is that of Ma et al., "Loss odyssey in medical
    image segmentation", Medical Image Analysis 2021, here for any number of classes. Where all voxels of a class are
    equally near, all count twice, and where it fills the image, all count once.
    """

    beside_labels: ClassVar[tuple[str, ...]] = (DISTANCES,)

    def forward(
        self,
        logits: Float[Tensor, "batch classes *spatial"],
        labels: Shaped[Tensor, "batch 1 *spatial"],
        distances_mm: Float[Tensor, "batch classes *spatial"],
    ) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            logits: ``(batch, classes, *spatial)``, before softmax.
            labels: ``(batch, 1, *spatial)``.
            distances_mm: ``(batch, classes, *spatial)``, what `rankseg_med.transforms.SignedDistances` makes of them.
        """
        by_voxel = cross_entropies(logits, labels).flatten(1)
        classes = classes_of(labels).flatten(1)[:, None]
        # Positive inside of each class, where only its own voxels are.
        depth = -in_full_precision(distances_mm).flatten(2)
        deepest = depth.amax(2, keepdim=True)
        shallowest = torch.where(depth > 0, depth, torch.inf).amin(2, keepdim=True)
        span = (deepest - shallowest).clamp(min=torch.finfo(depth.dtype).tiny)
        penalty = torch.where(depth > 0, (deepest - depth) / span, 0)
        penalty = torch.where((depth > 0) & (deepest <= shallowest), 1, penalty)
        return ((1 + penalty.gather(1, classes)[:, 0]) * by_voxel).mean()
