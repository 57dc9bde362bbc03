"""The distance of two boundaries, as a sum over voxels."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses._inputs import in_full_precision
from rankseg_med.losses.beside_labels import DISTANCES


class BoundaryLoss(torch.nn.Module):
    r"""Mean of the foreground probabilities times the signed distance to the true boundary, in mm.

    Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019. With softmax probabilities $p$ and
    the signed distance $\phi_{ic}$ of a voxel to the boundary of class $c$, negative inside,

    $$\frac{1}{(C - 1) N} \sum_{c \geq 1} \sum_i p_{ic}\, \phi_{ic}.$$

    It is lowest, and negative, for the truth, and says little of where a structure is that is not found at all; the
    paper adds it to a loss of regions, with a weight that grows from 0. Values are millimetres: weights that papers
    give are of distances in voxels.

    MONAI's `BoundaryLoss` makes the maps in every training step, in voxels; here the loader does, in mm.
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
            labels: ``(batch, 1, *spatial)``; not looked at, the maps say it all.
            distances_mm: ``(batch, classes, *spatial)``, what `rankseg_med.transforms.SignedDistances` makes of them.

        Returns:
            A scalar in mm, negative for good probabilities. A class without a boundary in the image has none there.
        """
        return (in_full_precision(logits).softmax(1)[:, 1:] * in_full_precision(distances_mm)[:, 1:]).mean()
