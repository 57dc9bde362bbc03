"""Weighted sums of losses."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from ignite.engine import Engine
from jaxtyping import Float, Shaped
from torch import Tensor

from rankseg_med.losses.beside_labels import beside_labels
from rankseg_med.losses.linear_ramp import LinearRamp
from rankseg_med.losses.scheduled import ScheduledLoss


class CombinedLoss(ScheduledLoss):
    r"""Weighted sum of losses, $\sum_k w_k(t)\, L_k$, whose weights may change with the iteration $t$.

    Args:
        losses: By name; each takes logits and labels, and what it names in `beside_labels`.
        weights: Of the same names.

    Attributes:
        beside_labels: What any of them takes beside logits and labels, each once.

    Raises:
        ValueError: There is no loss, the weights have other names, or one is negative or no finite number.
    """

    def __init__(self, losses: Mapping[str, torch.nn.Module], weights: Mapping[str, float | LinearRamp]) -> None:
        super().__init__()
        if not losses or losses.keys() != weights.keys():
            raise ValueError(
                "losses and weights must have the same names, at least one, got "
                f"{', '.join(losses) or 'none'} and {', '.join(weights) or 'none'}"
            )
        for name, weight in weights.items():
            if not isinstance(weight, LinearRamp) and not 0 <= weight < math.inf:
                raise ValueError(f"the weight of {name} must be a finite number of at least 0, got {weight}")
        self.losses = dict(losses)
        # Beside the dictionary, since modules' names may not be those of their own methods, nor have dots.
        self._terms = torch.nn.ModuleList(losses.values())
        self.weights = dict(weights)
        self.beside_labels = tuple(dict.fromkeys(name for loss in losses.values() for name in beside_labels(loss)))
        self._values: dict[str, Tensor] = {}
        self._trainer: Engine | None = None

    def attach(self, trainer: Engine) -> None:
        """Schedule weights by the iterations of a trainer, those within the losses too."""
        self._trainer = trainer
        for loss in self.losses.values():
            if isinstance(loss, ScheduledLoss):
                loss.attach(trainer)

    @property
    def ignore_index(self) -> int | None:
        """Label whose voxels count in none of the losses, if they agree on one."""
        ignored = {getattr(loss, "ignore_index", None) for loss in self.losses.values()}
        return ignored.pop() if len(ignored) == 1 else None

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
        *beside: Float[Tensor, "batch _ *spatial"],
    ) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            logits: ``(batch, classes, *spatial)``, before softmax.
            labels: ``(batch, 1, *spatial)``.
            *beside: What ``beside_labels`` names, in its order.

        Raises:
            ValueError: There are more or fewer of these than it names.
            RuntimeError: A weight changes with the iteration, and no trainer is attached.
        """
        if len(beside) != len(self.beside_labels):
            raise ValueError(
                f"the losses must be given, after logits and labels, {', '.join(self.beside_labels) or 'nothing'}; got "
                f"{len(beside)} tensors"
            )
        given = dict(zip(self.beside_labels, beside, strict=True))
        total = logits.new_zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
        for name, loss in self.losses.items():
            value = loss(logits, labels, *(given[needed] for needed in beside_labels(loss)))
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
