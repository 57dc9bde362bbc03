"""The folder with pictures of an evaluation's worst cases, which other scores empty."""

from __future__ import annotations

from pathlib import Path

OVERLAYS = "overlays"
"""Name of the pictures' folder in the folder of an evaluation."""


def remove_overlays(output: Path) -> None:
    """Remove the pictures that an earlier evaluation left, whose scores are no longer these.

    Raises:
        OSError: One cannot be removed.
    """
    for old in (output / OVERLAYS).glob("worst_*.png"):
        old.unlink()
