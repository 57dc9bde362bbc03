"""Checkpoints, and the weights that ship with the package. Networks themselves are MONAI's, built from the config."""

from rankseg_med.networks.checkpoint import (
    SHIPPED_WEIGHTS,
    CheckpointError,
    fill_network,
    load_weights,
    read_checkpoint,
    shipped_checkpoint,
)

__all__ = [
    "SHIPPED_WEIGHTS",
    "CheckpointError",
    "fill_network",
    "load_weights",
    "read_checkpoint",
    "shipped_checkpoint",
]
