"""What losses are given beside logits and labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DISTANCES, WEIGHT = "distances_mm", "weight"
"""Signed distances of `rankseg_med.transforms.SignedDistances`, and the weights of voxels that a data list names."""


def beside_labels(loss: Callable[..., Any]) -> tuple[str, ...]:
    """Names of what a loss takes after logits and labels, in its order: `DISTANCES`, `WEIGHT`, or mostly nothing.

    A loss says so by an attribute of this name.
    """
    return tuple(getattr(loss, "beside_labels", ()))
