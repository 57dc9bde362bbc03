"""Pictures of one study of a report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rankseg_med.evaluation.run_report.study_record import StudyRecord
from rankseg_med.evaluation.run_report.volumes import viewed
from rankseg_med.report import StudyPictures, telling_slices, viewer_volumes


def draw_study(record: StudyRecord, names: Mapping[int, str], with_volumes: bool) -> StudyPictures:
    """Pictures of a study, and what is not in them, and why; none of a study without a label map.

    Args:
        record: What is on disk.
        names: Label to name.
        with_volumes: Make volumes for the 3-D viewer too.

    Raises:
        InputError: The label map cannot be used, or what reads it is not installed.
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
