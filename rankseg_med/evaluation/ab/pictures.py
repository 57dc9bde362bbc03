"""Pictures of cases that a setting makes worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Real

from rankseg_med.evaluation.ab.settings import Setting, label_maps
from rankseg_med.evaluation.ab.side_by_side import SideBySide
from rankseg_med.evaluation.cases import DecodableCase
from rankseg_med.evaluation.structures import names_by_label
from rankseg_med.executors import map_items
from rankseg_med.report import Picture, save_study_overlay, view_study
from rankseg_med.studies import NnunetLabels, load_image


def draw_worst(
    cases: Sequence[DecodableCase],
    settings: Sequence[Setting],
    structures: NnunetLabels,
    result: SideBySide,
    folder: Path,
    *,
    pool: ProcessPoolExecutor | None = None,
) -> tuple[list[Picture], list[str]]:
    """Draw, of each setting, the cases that lose most by the score that it is judged by, and lose anything.

    A case is decoded again: label maps of all cases are not kept.

    Returns:
        A PNG for each such case, ``<case id>.png`` in the folder, worst first, with all settings beside the reference;
        and which cases could not be drawn, and why.
    """
    losses: dict[str, list[tuple[float, str]]] = {}
    for (structure, setting), worst in result.worst.items():
        for change in worst:
            if structure == result.summary and change.difference < 0:
                losses.setdefault(change.case_id, []).append((change.difference, setting))
    drawn = sorted((case for case in cases if case.case_id in losses), key=lambda case: min(losses[case.case_id]))
    draw = partial(_draw, settings=settings, names=names_by_label(structures.names), folder=folder)
    pictures, faults = [], []
    for case, path in zip(drawn, map_items(draw, drawn, pool=pool), strict=True):
        if isinstance(path, Exception):
            faults.append(f"No picture of {case.case_id}: {path}")
            continue
        changes = ", ".join(f"{setting} {100 * loss:+.1f} points" for loss, setting in sorted(losses[case.case_id]))
        pictures.append(Picture(path, f"{case.case_id}: {changes}"))
    return pictures, faults


def _draw(case: DecodableCase, settings: Sequence[Setting], names: Mapping[int, str], folder: Path) -> Path:
    image = _likely_foreground(case) if case.image is None else load_image(case.image)[0].numpy()
    decoded = {setting.name: label_map.numpy() for setting, label_map in label_maps(case, settings)}
    view = view_study(case.reference().numpy(), case.grid.affine, image, decoded)
    if case.image is None:
        view = replace(view, window=(0.0, 1.0))
    path = folder / f"{case.case_id}.png"
    save_study_overlay(path, view, names, heading="reference", title=case.case_id)
    return path


def _likely_foreground(case: DecodableCase) -> Real[np.ndarray, "X Y Z"]:
    """Highest probability of any channel but the first, which is the background of several classes."""
    probabilities = case.probabilities()
    foreground: np.ndarray = probabilities[min(1, len(probabilities) - 1) :].amax(0).numpy()
    return foreground
