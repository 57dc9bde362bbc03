"""Densities of one number in several groups, a panel for each structure."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from rankseg_med.report.figure_text import figure_text, legible
from rankseg_med.report.palette import CURVE_COLOURS
from rankseg_med.studies import atomic_write

_PANEL_INCHES = 3.4
_DPI = 200
# Places where a density is drawn, and beyond the numbers by how much of their range.
_PLACES = 200
_MARGIN = 0.25


@figure_text()
def save_densities(
    path: str | os.PathLike[str], panels: Mapping[str, Mapping[str, Float64[np.ndarray, " _"]]], *, axis: str
) -> None:
    """Save kernel density estimates (Gaussian, bandwidth by Scott's rule) of groups of numbers, and the numbers below.

    Args:
        path: Path of the figure, PNG or PDF by its name; an existing file is replaced.
        panels: Structure to name of a group to its numbers; at least one panel, each with at most seven groups, each of
            two different numbers at least.
        axis: What the numbers are.

    Raises:
        ValueError: There is no panel, or one that cannot be drawn.
    """
    groups = [numbers for panel in panels.values() for numbers in panel.values()]
    if not groups or max(map(len, panels.values())) > len(CURVE_COLOURS):
        raise ValueError(f"densities need a panel, each of 1 to {len(CURVE_COLOURS)} groups, got {list(panels)}")
    if min(len(np.unique(numbers)) for numbers in groups) < 2:
        raise ValueError("a density needs two different numbers at least")
    figure = Figure(figsize=(_PANEL_INCHES * len(panels), _PANEL_INCHES), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (structure, panel) in zip(drawn, panels.items(), strict=True):
        together = np.concatenate(list(panel.values()))
        margin = _MARGIN * float(np.ptp(together))
        places = np.linspace(together.min() - margin, together.max() + margin, _PLACES)
        densities = [gaussian_kde(numbers)(places) for numbers in panel.values()]
        stroke = 0.04 * max(density.max() for density in densities)
        for number, ((name, numbers), density) in enumerate(zip(panel.items(), densities, strict=True)):
            label = f"{legible(name)} (n = {len(numbers)})"
            axes.plot(places, density, color=CURVE_COLOURS[number], label=label)
            axes.fill_between(places, density, color=CURVE_COLOURS[number], alpha=0.2)
            # A row of strokes for each group, below the curves.
            axes.plot(
                numbers, np.full(len(numbers), -stroke * (number + 1)), "|", color=CURVE_COLOURS[number], markersize=5
            )
        axes.set(title=legible(structure), xlabel=axis)
        axes.legend(frameon=False, fontsize=7)
    drawn[0].set_ylabel("density")
    with atomic_write(path) as temporary:
        figure.savefig(temporary)
