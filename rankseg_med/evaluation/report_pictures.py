"""Pictures of one study of a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rankseg_med.evaluation.report_records import StudyRecord
from rankseg_med.report import StudyPictures, StudyView, telling_slices, view_study, viewer_volumes
from rankseg_med.studies import StudyError, check_same_grid, load_label_map


def draw_study(record: StudyRecord, names: Mapping[int, str], with_volumes: bool) -> StudyPictures:
    """Pictures of a study, and what is not in them, and why; none of a study without a label map.

    Args:
        record: What is on disk.
        names: Label to name.
        with_volumes: Make volumes for the 3-D viewer too.

    Raises:
        StudyError: The label map cannot be used.
        OSError: It is not there or cannot be read.
    """
    notes: list[str] = []
    view = viewed(record, notes)
    if view is None:
        return StudyPictures()
    same = [name for name, other in view.others.items() if np.array_equal(view.label_map, other)]
    notes += [f"The {name} is the same everywhere." for name in same]
    volumes = viewer_volumes(view, names) if with_volumes else None
    return StudyPictures(tuple(telling_slices(view, names)), volumes, tuple(notes))


def viewed(record: StudyRecord, notes: list[str]) -> StudyView | None:
    """What pictures of a study are made of; None without a label map.

    Args:
        record: What is on disk.
        notes: Gets what cannot be shown beside the label map, and why.

    Raises:
        StudyError: The label map cannot be used.
        OSError: It is not there or cannot be read.
    """
    if record.label_map is None:
        return None
    image = _usable(record.label_map, record.image, "image", notes)
    others = {}
    for name, path in {"reference": record.reference, "other label map": record.against}.items():
        if (usable := _usable(record.label_map, path, name, notes)) is not None:
            others[name] = load_label_map(usable)[0].numpy()
    return view_study(record.label_map, image, others, ignored_label=record.ignored_label)


def _usable(label_map: Path, other: Path | None, name: str, notes: list[str]) -> Path | None:
    """A file on the label map's grid; else it is noted why it is not shown."""
    if other is None:
        return None
    try:
        check_same_grid(label_map, other)
    except (StudyError, OSError) as error:
        notes.append(f"The {name} is not shown: {error}")
        return None
    return other
