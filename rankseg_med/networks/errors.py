"""What goes wrong with a network's files."""

from __future__ import annotations

from rankseg_med.errors import InputError


class CheckpointError(InputError):
    """A checkpoint, or a network in a file, that cannot be used; the message says why."""


class MisfitError(CheckpointError):
    """Weights of another network; the message names what does not fit."""
