"""The errors of this room."""

from __future__ import annotations

from rankseg_med.errors import RanksegMedError


class InferenceError(RanksegMedError, RuntimeError):
    """A network or preprocessing that does not do what a segmentation needs; the message says what it did."""
