"""An overlay of a study."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from rankseg_med.report.overlay import save_overlay
from rankseg_med.report.study_view import StudyView


def save_study_overlay(
    path: str | os.PathLike[str], view: StudyView, names: Mapping[int, str], *, heading: str, title: str
) -> None:
    """Save a figure of a study, see `save_overlay`: its label map, and beside it what that is held against.

    Args:
        path: Where it goes, PNG or PDF by its name; an existing file is replaced.
        view: The study; without an image it is drawn on black.
        names: Label to name; others are called by their number.
        heading: What the label map is, above its column.
        title: Text above the columns.
    """
    low, high = view.grey_values
    grey = np.zeros_like(view.label_map) if view.grey is None else view.grey
    save_overlay(
        path,
        low + grey.astype(np.float32) * ((high - low) / 255),
        {heading: view.label_map, **view.others},
        {label: names.get(label, f"label {label}") for label in {*names, *view.labels}},
        window_hu=view.window,
        spacing_mm=view.spacing_mm,
        title=title,
        first_voxel=view.first_voxel,
        whole_shape=view.whole_shape,
    )
