"""A network's own labels to those of the config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.networks.errors import CheckpointError

Labels: TypeAlias = Sequence[int | Sequence[int]]
"""For each class of the config, background first, the network's label, or several that are one class here."""


def relabelled(
    logits: Float[Tensor, "batch labels *window"], labels: Labels | None
) -> Float[Tensor, "batch classes *window"]:
    """Logits in the order of the config's classes.

    The probability of a class that several labels make is their sum: ``logit_c = log sum_{l in c} exp(logit_l)``.

    Args:
        logits: ``(batch, labels, *window)``.
        labels: See `Labels`; None leaves logits as they are.

    Raises:
        CheckpointError: Not every label of the network stands once in the labels.
    """
    if labels is None:
        return logits
    groups = [[label] if isinstance(label, int) else list(label) for label in labels]
    given = sorted(label for group in groups for label in group)
    if given != list(range(logits.shape[1])) or not all(groups):
        raise CheckpointError(
            f"labels must name each of the network's {logits.shape[1]} labels, 0 to {logits.shape[1] - 1}, once, and "
            f"at least one for each class, got {groups}"
        )
    return torch.stack([logits[:, group].logsumexp(1) for group in groups], 1)
