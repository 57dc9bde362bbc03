"""Pictures of cases that a setting makes worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Real, UInt8

from rankseg_med.evaluation.cases import DecodableCase
from rankseg_med.evaluation.settings import Setting, label_maps
from rankseg_med.evaluation.side_by_side import SideBySide
from rankseg_med.executors import map_items
from rankseg_med.masks import bounding_box
from rankseg_med.report import Picture, save_overlay
from rankseg_med.studies import NnunetLabels, load_image

_MARGIN_MM = 20.0


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
    draw = partial(_draw, settings=settings, names=_label_names(structures), folder=folder)
    pictures, faults = [], []
    for case, path in zip(drawn, map_items(draw, drawn, pool=pool), strict=True):
        if isinstance(path, Exception):
            faults.append(f"No picture of {case.case_id}: {path}")
            continue
        changes = ", ".join(f"{setting} {100 * loss:+.1f} points" for loss, setting in sorted(losses[case.case_id]))
        pictures.append(Picture(path, f"{case.case_id}: {changes}"))
    return pictures, faults


def _draw(case: DecodableCase, settings: Sequence[Setting], names: Mapping[int, str], folder: Path) -> Path:
    maps = {"reference": case.reference().numpy()}
    maps |= {setting.name: label_map.numpy() for setting, label_map in label_maps(case, settings)}
    affine = case.grid.affine
    grey = _likely_foreground(case) if case.image is None else load_image(case.image)[0].numpy()
    box = _box(list(maps.values()), case.grid.spacing_mm)
    window = (0.0, 1.0) if case.image is None else _window(grey[box])
    # Pictures are cut to what is not black.
    shown = np.full_like(grey, window[0])
    shown[box] = grey[box]
    turned = nib.as_closest_canonical(nib.Nifti1Image(shown, affine))
    right, front, up = map(float, nib.affines.voxel_sizes(turned.affine))
    path = folder / f"{case.case_id}.png"
    save_overlay(
        path,
        np.asarray(turned.dataobj),
        {name: _canonical(label_map, affine) for name, label_map in maps.items()},
        {**{int(label): f"label {label}" for label in np.unique(maps["reference"]) if label}, **names},
        window_hu=window,
        spacing_mm=(right, front, up),
        title=case.case_id,
    )
    return path


def _likely_foreground(case: DecodableCase) -> Real[np.ndarray, "X Y Z"]:
    """Highest probability of any channel but the first, which is the background of several classes."""
    probabilities = case.probabilities()
    foreground: np.ndarray = probabilities[min(1, len(probabilities) - 1) :].amax(0).numpy()
    return foreground


def _box(maps: Sequence[UInt8[np.ndarray, "X Y Z"]], spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    """Around all structures, with a margin; there is one, or no setting would be worse than another."""
    margins = [round(_MARGIN_MM / step) for step in spacing_mm]
    sides = zip(bounding_box(*maps), margins, strict=True)
    return tuple(slice(max(0, side.start - by), side.stop + by) for side, by in sides)


def _window(image: Real[np.ndarray, "X Y Z"]) -> tuple[float, float]:
    low, high = map(float, np.percentile(image, (1, 99)))
    return (low, high) if low < high else (low, low + 1)


def _canonical(label_map: UInt8[np.ndarray, "X Y Z"], affine: np.ndarray) -> UInt8[np.ndarray, "R A S"]:
    turned: np.ndarray = np.asarray(nib.as_closest_canonical(nib.Nifti1Image(label_map, affine)).dataobj)
    return turned


def _label_names(structures: NnunetLabels) -> dict[int, str]:
    """Each label by the smallest structure that has it."""
    by_size = sorted(structures.names.items(), key=lambda named: -len(named[1]))
    return {label: name for name, labels in by_size for label in labels}
