"""Colours of labels in pictures."""

from __future__ import annotations

from collections.abc import Iterable

# Okabe and Ito's colours, which colour-blind readers can tell apart; without their black.
_PALETTE = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")


def colours_of(labels: Iterable[int]) -> dict[int, str]:
    """Label to colour, ``#RRGGBB``; the background has none, and the seven colours repeat from the eighth label on."""
    foreground = sorted(label for label in labels if label)
    return {label: _PALETTE[i % len(_PALETTE)] for i, label in enumerate(foreground)}
