"""The errors of this room."""

from __future__ import annotations

from rankseg_med.errors import InputError


class NnunetError(InputError):
    """A trained model of nnU-Net that cannot be used; the message says what was required and what came."""
