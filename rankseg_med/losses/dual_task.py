"""Loss of a network that predicts edges beside its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from ignite.engine import Engine
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from rankseg_med.losses.beside_labels import beside_labels
from rankseg_med.losses.scheduled import ScheduledLoss
from rankseg_med.losses.soft_boundaries import dilated, eroded


class DualTaskLoss(ScheduledLoss):
    r"""Loss of the classes, of the edges, and of the classes at the edges.

    Takikawa et al., "Gated-SCNN: Gated Shape CNNs for Semantic Segmentation", ICCV 2019. With edge probabilities $s_i$,
    $b_i = 1$ where voxel i borders on another class and the share $\beta$ of such voxels in the batch, it is

    $$L(\text{logits}, \text{labels})
      - \frac{\lambda_1}{N} \sum_i (1 - \beta) b_i \log s_i + \beta (1 - b_i) \log(1 - s_i)
      - \lambda_2 \, \text{mean}_{s_i > t} \log p_{i, y_i},$$

    the last being the paper's equation 7. Its equation 6, which compares edges of sampled label maps, is left out.

    Args:
        loss: $L$, such as MONAI's `DiceCELoss`, or a `CombinedLoss`.
        edge_weight: $\lambda_1$, at least 0; 20 in the paper's code.
        attention_weight: $\lambda_2$, at least 0.
        threshold: $t$, in (0, 1).

    Attributes:
        beside_labels: What the loss of the classes takes beside logits and labels.
    """

    def __init__(
        self, loss: torch.nn.Module, edge_weight: float = 20.0, attention_weight: float = 1.0, threshold: float = 0.8
    ) -> None:
        super().__init__()
        if min(edge_weight, attention_weight) < 0 or not 0 < threshold < 1:
            raise ValueError(
                "edge_weight and attention_weight must be at least 0 and threshold in (0, 1), got "
                f"{edge_weight}, {attention_weight} and {threshold}"
            )
        self.loss = loss
        self.beside_labels = beside_labels(loss)
        self.edge_weight = edge_weight
        self.attention_weight = attention_weight
        self.threshold = threshold

    def attach(self, trainer: Engine) -> None:
        """Schedule the weights of the loss of the classes, if it is a sum whose weights change."""
        if isinstance(self.loss, ScheduledLoss):
            self.loss.attach(trainer)

    @property
    def scalars(self) -> Mapping[str, float]:
        """What the loss of the classes tells of the latest batch, for TensorBoard."""
        return self.loss.scalars if isinstance(self.loss, ScheduledLoss) else {}

    def forward(
        self,
        output: Tensor | Sequence[Tensor],
        labels: Shaped[Tensor, "batch 1 *spatial"],
        *beside: Float[Tensor, "batch _ *spatial"],
    ) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            output: Logits ``(batch, classes, *spatial)``, and those of the edges ``(batch, 1, *spatial)``.
            labels: Class of every voxel.
            *beside: What ``beside_labels`` names, for the loss of the classes.

        Returns:
            A scalar. The third term is 0 where no voxel is so sure to be an edge.

        Raises:
            ValueError: The network returned something else.
        """
        if isinstance(output, Tensor) or len(output) != 2:
            got = "logits alone" if isinstance(output, Tensor) else f"a list of {len(output)}"
            raise ValueError(
                f"DualTaskLoss needs a network that returns logits and edges, got {got}; for GatedSCNN set "
                "edges_in_training"
            )
        logits, edges = output[0], output[1].float()
        of_classes: Tensor = self.loss(logits, labels, *beside)
        boundary = label_boundary(labels).float()
        share = boundary.mean()
        balance = torch.where(boundary > 0, 1 - share, share)
        of_edges = F.binary_cross_entropy_with_logits(edges, boundary, weight=balance)
        likely = (edges.detach().sigmoid() > self.threshold).float()
        cross_entropy = F.cross_entropy(logits.float(), labels.squeeze(1).long(), reduction="none").unsqueeze(1)
        at_edges = (likely * cross_entropy).sum() / likely.sum().clamp(min=1)
        return of_classes + self.edge_weight * of_edges + self.attention_weight * at_edges


def label_boundary(labels: Shaped[Tensor, "batch 1 *spatial"]) -> Bool[Tensor, "batch 1 *spatial"]:
    """Voxels with another class among their neighbours (3 x 3 x 3), on either side of the boundary."""
    classes = labels.float()
    return dilated(classes, 1) != eroded(classes, 1)
