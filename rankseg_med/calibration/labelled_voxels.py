"""Logits of voxels whose labels are known, few enough to be kept of many volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class LabelledVoxels:
    """Voxels of one volume or of many, in main memory.

    Attributes:
        logits: ``(voxels, classes)``; logarithms of probabilities are logits too.
        labels: ``(voxels)``, the true classes.
        weights: ``(voxels)``, at least 0: how many voxels each stands for.
    """

    logits: Float[Tensor, "voxels classes"]
    labels: Int64[Tensor, " voxels"]
    weights: Float[Tensor, " voxels"]

    @classmethod
    def joined(cls, parts: Sequence[LabelledVoxels]) -> LabelledVoxels:
        """All voxels of several volumes, at least one."""
        logits, labels, weights = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("logits", "labels", "weights")
        )
        return cls(logits, labels, weights)


def draw_voxels(
    logits: Float[Tensor, "classes *spatial"],
    labels: Int64[Tensor, "*spatial"],
    *,
    per_class: int = 65536,
    seed: int = 0,
) -> LabelledVoxels:
    """Draw voxels of a volume, so many of each class at most, weighted so that sums over them estimate the volume's.

    A tumour of a thousand voxels is kept whole beside a background of a hundred million.

    Args:
        logits: Logits of a network.
        labels: The truth.
        per_class: Most voxels of a class, at least 1; classes with no more voxels are kept whole.
        seed: Random seed of the draw.

    Raises:
        ValueError: A label is no class, or labels are of another shape.
    """
    if logits.shape[1:] != labels.shape:
        raise ValueError(f"labels must be of the logits' shape {tuple(logits.shape[1:])}, got {tuple(labels.shape)}")
    num_classes, labels = len(logits), labels.flatten()
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"labels must be classes of the network, 0 to {num_classes - 1}; "
            f"got {int(labels.min())} to {int(labels.max())}"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn, weights = [], []
    for label in range(num_classes):
        voxels = (labels == label).nonzero()[:, 0]
        if len(voxels) > per_class:
            order = torch.randperm(len(voxels), generator=generator)[:per_class]
            chosen = voxels[order.to(voxels.device)]
        else:
            chosen = voxels
        drawn.append(chosen)
        weights.append(torch.full((len(chosen),), len(voxels) / max(len(chosen), 1), device=labels.device))
    index = torch.cat(drawn)
    return LabelledVoxels(logits.flatten(1)[:, index].T.float().cpu(), labels[index].cpu(), torch.cat(weights).cpu())
