"""Pictures of the cases that an evaluation scores worst."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rankseg_med.evaluation.run_report.records import FolderRecords, read_records
from rankseg_med.evaluation.run_report.study_record import StudyRecord
from rankseg_med.evaluation.scoring.files import OVERLAYS, remove_overlays
from rankseg_med.evaluation.scoring.job import Pair, load_prediction
from rankseg_med.evaluation.structures import names_by_label
from rankseg_med.executors import map_items
from rankseg_med.metrics import find_metric, summarise
from rankseg_med.report import Picture, save_study_overlay, view_study
from rankseg_med.studies import StudyError, check_same_grid, load_image, load_label_map


def draw_worst_cases(
    output: Path, count: int, *, images: Path | None = None, data_root: Path | None = None
) -> tuple[list[Picture], list[str]]:
    """Draw the cases that score worst by the first metric, as mean over the regions that have a score.

    Each is a PNG, ``overlays/worst_<rank>_<case id>.png`` in the folder: reference beside prediction over the image, in
    three planes. Pictures that an earlier evaluation left there are removed. Cases that failed have no score, and so
    neither rank nor picture.

    Args:
        output: Output folder of `evaluate`.
        count: Number of cases.
        images: Images of the cases, see `list_studies`; of a case that is not among them, and by default, the image
            that the prediction was made of, as the record beside it says.
        data_root: What the paths of a data list of images are relative to; by default the list's own folder.

    Returns:
        The pictures, worst case first; and which of the cases could not be drawn, and why.

    Raises:
        StudyError: The folder is no evaluation's, or no image can be listed.
        OSError: An earlier picture cannot be removed.
    """
    records = read_records(output, images=images, data_root=data_root)
    remove_overlays(output)
    worst = _ranked(records)[:count]
    names = names_by_label({name: found["labels"] for name, found in records.summary.get("regions", {}).items()})
    draw = partial(_draw, names=names, folder=output / OVERLAYS)
    pictures, faults = [], []
    for case, drawn in zip(worst, map_items(draw, worst), strict=True):
        if isinstance(drawn, Exception):
            faults.append(f"{case.record.case_id}: no overlay: {drawn}")
        else:
            pictures.append(Picture(drawn, case.caption))
    return pictures, faults


@dataclass(frozen=True)
class _RankedCase:
    rank: int
    record: StudyRecord
    caption: str


def _ranked(records: FolderRecords) -> list[_RankedCase]:
    """Every case that has a score, worst first."""
    if not records.metrics:
        return []
    metric = records.metrics[0]
    found = find_metric(metric)
    means = [
        (summarise(region[metric] for region in record.scores.values()).mean, record) for record in records.studies
    ]
    scored = [(score, record) for score, record in means if not math.isnan(score)]
    if found.higher_is_better is None:
        scored.sort(key=lambda case: -abs(case[0]))
    else:
        scored.sort(key=lambda case: case[0], reverse=not found.higher_is_better)
    unit = found.unit_in(records.distance_unit)
    return [
        _RankedCase(rank, record, f"{record.case_id}: {found.heading} {found.shown(score)} {unit}".strip())
        for rank, (score, record) in enumerate(scored, start=1)
    ]


def _draw(case: _RankedCase, names: Mapping[int, str], folder: Path) -> Path:
    """Draw one on the grid of its reference, as it was scored.

    Raises:
        StudyError: No image is known, or a file cannot be used or lies on another grid.
        OSError: A file is not there.
    """
    record = case.record
    if record.reference is None:
        raise StudyError("no record says what it was scored against; run evaluate again")
    if record.image is None:
        raise StudyError("nothing says which image it was predicted from; name the images")
    pair = Pair(record.case_id, record.label_map, record.reference)
    prediction, _ = load_prediction(pair, resample_to_reference=True)
    if record.ignored_label is not None:
        prediction[prediction == record.ignored_label] = 0
    check_same_grid(record.reference, record.image)
    reference, image = load_label_map(record.reference), load_image(record.image)
    view = view_study(reference[0].numpy(), reference.affine.numpy(), image[0].numpy(), {"prediction": prediction})
    path = folder / f"worst_{case.rank:02}_{record.case_id}.png"
    save_study_overlay(path, view, names, heading="reference", title=f"{case.rank}. {case.caption}")
    return path
