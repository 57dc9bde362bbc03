"""Reliability diagrams: how often voxels of a given probability are of the structure."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rankseg_med.report.figure_text import figure_text, legible
from rankseg_med.studies import atomic_write

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7")
_PANEL_INCHES = 3.4
_DPI = 120
# Of a title, above a panel.
_CHARACTERS = 52


@dataclass(frozen=True)
class ReliabilityCurve:
    """One line of a diagram, bin by bin; NaN in bins without voxels, which are left out.

    Attributes:
        mean_probability: Mean probability of the voxels in each bin.
        frequency: Share of them that is of the structure.
        ece: Expected calibration error, for the legend.
    """

    mean_probability: Float64[np.ndarray, " bins"]
    frequency: Float64[np.ndarray, " bins"]
    ece: float


@figure_text()
def save_reliability_diagrams(
    path: str | os.PathLike[str],
    diagrams: Mapping[str, Mapping[str, ReliabilityCurve]],
    *,
    title: str | None = None,
    axes_are: tuple[str, str] = ("probability", "share of voxels that are of the structure"),
) -> None:
    """Save a panel for each structure; on the diagonal, probabilities can be taken at their word.

    Args:
        path: Path of the figure, PNG or PDF by its name; an existing file is replaced.
        diagrams: Structure to name to curve; at least one, with at most five curves each.
        title: Text above the panels.
        axes_are: What runs across and what up, where it is not voxels that are counted.

    Raises:
        ValueError: There is no diagram, or one has too many curves.
    """
    most = max(map(len, diagrams.values()), default=0)
    if not 1 <= most <= len(_COLOURS):
        raise ValueError(f"a reliability diagram has 1 to {len(_COLOURS)} curves, got {most}")
    figure = Figure(figsize=(_PANEL_INCHES * len(diagrams), _PANEL_INCHES + 0.3), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(diagrams), squeeze=False)[0]
    for axes, (structure, curves) in zip(panels, diagrams.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for colour, (name, curve) in zip(_COLOURS, curves.items(), strict=False):
            seen = np.isfinite(curve.frequency)
            axes.plot(
                *(curve.mean_probability[seen], curve.frequency[seen]),
                **{"color": colour, "marker": "o", "markersize": 3, "linewidth": 1.2},
                label=f"{legible(name)} (ECE {curve.ece:.4f})",
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=legible(structure), xlabel=axes_are[0])
        axes.legend(frameon=False, fontsize=7, loc="upper left")
    panels[0].set_ylabel(axes_are[1])
    if title:
        figure.suptitle(textwrap.fill(legible(title), _CHARACTERS * len(diagrams)), fontsize=8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary)
