"""Weighted sums of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Engine
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses.linear_ramp import LinearRamp


def needs_distances(loss: Callable[..., Any]) -> bool:
    """Whether a loss takes signed distances as its third argument."""
    return bool(getattr(loss, "needs_distances", False))


class CombinedLoss(torch.nn.Module):
    r"""Weighted sum of losses, $\sum_k w_k(t)\, L_k$, whose weights may change with the iteration $t$.

    Args:
        losses: By name; each takes logits and labels, and distances if it `needs_distances`.
        weights: Of the same names.

    Raises:
        ValueError: There is no loss, or the weights have other names.
    """

    def __init__(self, losses: Mapping[str, torch.nn.Module], weights: Mapping[str, float | LinearRamp]) -> None:
        super().__init__()
        if not losses or losses.keys() != weights.keys():
            raise ValueError(
                "losses and weights must have the same names, at least one, got "
                f"{', '.join(losses) or 'none'} and {', '.join(weights) or 'none'}"
            )
        self.losses = torch.nn.ModuleDict(losses)
        self.weights = dict(weights)
        self.needs_distances = any(map(needs_distances, losses.values()))
        self._values: dict[str, Tensor] = {}
        self._trainer: Engine | None = None

    def attach(self, trainer: Engine) -> None:
        """Schedule weights by the iterations of a trainer."""
        self._trainer = trainer

    @property
    def scalars(self) -> dict[str, float]:
        """Value of each loss of the latest batch, and its weight where that changes, for TensorBoard."""
        ramps = {name: self._weight(name) for name, weight in self.weights.items() if isinstance(weight, LinearRamp)}
        return {
            **{f"loss/{name}": float(value) for name, value in self._values.items()},
            **{f"loss_weight/{name}": weight for name, weight in ramps.items()},
        }

    def forward(
        self,
        logits: Float[Tensor, "batch classes *spatial"],
        labels: Shaped[Tensor, "batch 1 *spatial"],
        distances_mm: Float[Tensor, "batch classes *spatial"] | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            logits: ``(batch, classes, *spatial)``, before softmax.
            labels: ``(batch, 1, *spatial)``.
            distances_mm: ``(batch, classes, *spatial)``, what `rankseg_med.transforms.SignedDistances` makes of the
                labels; needed if one of the losses needs them.

        Raises:
            ValueError: Distances are needed and missing.
            RuntimeError: A weight changes with the iteration, and no trainer is attached.
        """
        if self.needs_distances and distances_mm is None:
            names = [name for name, loss in self.losses.items() if needs_distances(loss)]
            raise ValueError(f"{', '.join(names)} must be given signed distances, got none; pass distances_mm")
        total = logits.new_zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
        for name, loss in self.losses.items():
            value = loss(logits, labels, distances_mm) if needs_distances(loss) else loss(logits, labels)
            self._values[name] = value.detach()
            total = total + self._weight(name) * value
        return total

    def _weight(self, name: str) -> float:
        weight = self.weights[name]
        if not isinstance(weight, LinearRamp):
            return weight
        if self._trainer is None:
            raise RuntimeError(
                f"the weight of {name} must follow a trainer, but none is attached; call attach(trainer) first"
            )
        return weight.at(int(self._trainer.state.iteration))
