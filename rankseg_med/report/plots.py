"""Plots over studies, for papers: PNG or PDF, by the name of the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rankseg_med.report.figure_text import figure_text, legible
from rankseg_med.report.palette import CURVE_COLOURS
from rankseg_med.studies import atomic_write

_PANEL_INCHES = 3.4
_DPI = 200


def save_box_plots(
    path: str | os.PathLike[str],
    values: Mapping[str, Float64[np.ndarray, " _"]],
    *,
    axis: str,
    best: float | None = None,
) -> None:
    """Save a box (quartiles, whiskers to 1.5 times their distance) and all points of each group.

    Args:
        path: Path of the figure; an existing file is replaced.
        values: Heading to its numbers; at least one group, each with at least one number, all finite.
        axis: What the numbers are.
        best: The best number there can be, for the end of the axis.

    Raises:
        ValueError: There is no group, or one without numbers.
    """
    if not values or not all(map(len, values.values())):
        raise ValueError(f"box plots need at least one number in each group, got {list(values)}")
    width = max(_PANEL_INCHES, 1.1 * len(values))
    with _panel(path, width) as axes:
        axes.boxplot(list(values.values()), showfliers=False, medianprops={"color": CURVE_COLOURS[0]})
        rng = np.random.default_rng(0)
        for place, numbers in enumerate(values.values(), start=1):
            beside = place + rng.uniform(-0.12, 0.12, len(numbers))
            axes.plot(beside, numbers, "o", markersize=2, alpha=0.5, color=CURVE_COLOURS[0])
        names = [f"{legible(name)}\n(n = {len(found)})" for name, found in values.items()]
        axes.set_xticks(range(1, len(values) + 1), names)
        axes.set_ylabel(axis)
        if best is not None:
            axes.set_ylim(top=best + 0.02)


def save_risk_coverage(
    path: str | os.PathLike[str], curves: Mapping[str, Float64[np.ndarray, " _"]], *, score: str
) -> None:
    """Save risk-coverage curves: mean risk of the most confident studies, against their share.

    Args:
        path: Path of the figure; an existing file is replaced.
        curves: Name to mean risk of the k most confident studies, for k from 1 to all; at least one.
        score: Name of the score that the risk is 1 less of.

    Raises:
        ValueError: There is no curve, or an empty one.
    """
    if not curves or not all(map(len, curves.values())):
        raise ValueError(f"risk-coverage curves need at least one study each, got {list(curves)}")
    with _panel(path) as axes:
        for number, (name, curve) in enumerate(curves.items()):
            coverage = np.arange(1, len(curve) + 1) / len(curve)
            label = f"{legible(name)} (AURC {curve.mean():.4f})"
            axes.plot(
                coverage, curve, marker="o", markersize=2, color=CURVE_COLOURS[number % len(CURVE_COLOURS)], label=label
            )
        axes.set(xlim=(0, 1), xlabel="coverage, most certain studies first", ylabel=f"risk: 1 - mean {score}")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=7)


def save_agreement(
    path: str | os.PathLike[str],
    pairs: Mapping[str, tuple[Float64[np.ndarray, " _"], Float64[np.ndarray, " _"]]],
    *,
    score: str,
) -> None:
    """Save expected against true scores of studies; on the diagonal, what was expected came true.

    Args:
        path: Path of the figure; an existing file is replaced.
        pairs: Name to expected and true scores of the same studies; at least one.
        score: Name of the score.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not pairs:
        raise ValueError("expected and true scores of at least one structure are needed, got none")
    with _panel(path) as axes:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for number, (name, (expected, true)) in enumerate(pairs.items()):
            colour, label = CURVE_COLOURS[number % len(CURVE_COLOURS)], f"{legible(name)} (n = {len(true)})"
            axes.plot(expected, true, "o", markersize=3, alpha=0.7, color=colour, label=label)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", xlabel=f"expected {score}", ylabel=f"true {score}")
        axes.legend(frameon=False, fontsize=7, loc="upper left")


@contextmanager
def _panel(path: str | os.PathLike[str], width: float = _PANEL_INCHES) -> Iterator[Axes]:
    with figure_text():
        figure = Figure(figsize=(width, _PANEL_INCHES), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots()
        with atomic_write(path) as temporary:
            figure.savefig(temporary)
