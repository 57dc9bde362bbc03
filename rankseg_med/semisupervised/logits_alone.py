"""What semi-supervised methods take of a network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rankseg_med.errors import InputError


def logits_alone(output: Tensor | Sequence[Tensor]) -> Tensor:
    """The output of a network, if that is logits.

    Raises:
        InputError: It is a list, such as logits and edges.
    """
    if isinstance(output, Tensor):
        return output
    raise InputError(
        f"methods learn from logits alone, but the network gives a list of {len(output)}; take one that gives logits, "
        "such as with edges_in_training or deep_supervision set to false"
    )
