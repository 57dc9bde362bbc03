"""Colours of labels in pictures, and of curves."""

from __future__ import annotations

from collections.abc import Iterable

from rankseg_med.studies import LABEL_COLOURS

CURVE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""


def hex_colours_of(labels: Iterable[int]) -> dict[int, str]:
    """Label to colour, ``#RRGGBB``, as label maps on disk name them; the background has none, and colours repeat."""
    foreground = sorted(label for label in labels if label)
    return {
        label: "#{:02X}{:02X}{:02X}".format(*LABEL_COLOURS[i % len(LABEL_COLOURS)])
        for i, label in enumerate(foreground)
    }
