"""Colours of labels in pictures."""

from __future__ import annotations

from collections.abc import Iterable

from rankseg_med.studies import LABEL_COLOURS


def hex_colours_of(labels: Iterable[int]) -> dict[int, str]:
    """Label to colour, ``#RRGGBB``, as label maps on disk name them; the background has none, and colours repeat."""
    foreground = sorted(label for label in labels if label)
    return {
        label: "#{:02X}{:02X}{:02X}".format(*LABEL_COLOURS[i % len(LABEL_COLOURS)])
        for i, label in enumerate(foreground)
    }
