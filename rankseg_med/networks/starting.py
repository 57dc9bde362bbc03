"""Starting a training from the weights of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from rankseg_med.networks.checkpoint import check_finite, fill_network, is_same_kind, read_weights
from rankseg_med.networks.errors import MisfitError
from rankseg_med.networks.names import renamed


@dataclass(frozen=True)
class Start:
    """What a network started from.

    Attributes:
        anew: Entries of the network that stayed as they were, since the weights have none of that name and shape.
        unused: Entries of the weights that the network has no place for.
    """

    anew: tuple[str, ...]
    unused: tuple[str, ...]


def start_from_weights(
    network: torch.nn.Module, checkpoint: Path, *, new_layers: bool = False, sha256: str | None = None
) -> Start:
    """Fill a network with the weights of a checkpoint: all of them, or, if that is asked for, those that fit.

    Args:
        network: Any module; its parameters and buffers are overwritten.
        checkpoint: As for `load_weights`; nothing is unpickled.
        new_layers: Whether layers that do not fit, such as the last one of a network with other classes, stay as they
            are. A layer is kept or filled as a whole: a bias does not come from where its weight does not.
        sha256: Hash that the file's content must have; by default any.

    Returns:
        What was not filled; nothing if all fits.

    Raises:
        CheckpointError: The file cannot be used; its weights do not fit, and new layers were not asked for, or none
            fits (a `MisfitError`).
    """
    expected = network.state_dict()
    weights = renamed(read_weights(checkpoint, sha256=sha256), expected)
    if not new_layers:
        fill_network(network, weights, checkpoint)
        return Start((), ())
    misfitting = {
        _layer_of(name)
        for name, own in expected.items()
        if name not in weights or weights[name].shape != own.shape or not is_same_kind(weights[name], own)
    }
    fitting = {name: weights[name] for name in expected if name in weights and _layer_of(name) not in misfitting}
    if not fitting:
        raise MisfitError(
            f"{checkpoint}: no layer fits the network of the config, so there is nothing to start from; was it trained "
            "with another config?"
        )
    check_finite(fitting, expected, checkpoint)
    network.load_state_dict(fitting, strict=False)
    return Start(
        tuple(name for name in expected if name not in fitting), tuple(sorted(weights.keys() - fitting.keys()))
    )


def _layer_of(name: str) -> str:
    """The module that an entry belongs to: ``model.2.conv`` of ``model.2.conv.weight``."""
    return name.rpartition(".")[0]
