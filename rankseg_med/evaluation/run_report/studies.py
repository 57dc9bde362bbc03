"""What a report says of one study: volumes, expected and true scores by the names of structures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankseg_med.evaluation.run_report.records import FolderRecords
from rankseg_med.evaluation.run_report.study_record import StudyRecord
from rankseg_med.metrics import DistanceUnit, find_metric
from rankseg_med.report import StudyEntry, Value
from rankseg_med.studies import StudyError, read_grid, read_label_names

TIME_HEADING = "time (s)"
MOST_TELLING = 6
"""So many of the worst, and of the least certain, are drawn more closely."""
_HEADINGS = {"dice": "Dice", "iou": "IoU"}


def heading_of(metric: str, distances: DistanceUnit) -> str:
    """Heading and unit of a score, such as "HD95 (mm)"."""
    found = find_metric(metric)
    return f"{found.titled(distances, link=' (')})" if found.unit else found.heading


@dataclass(frozen=True)
class Structure:
    """A class or a region: what decisions and scores speak of.

    Attributes:
        name: Name in headings, and in scores.
        labels: Labels that make it up; empty where only scores name it.
        distance_unit: What scored distances are in.
    """

    name: str
    labels: tuple[int, ...]
    distance_unit: DistanceUnit = "mm"

    @property
    def volume_heading(self) -> str:
        """Of the column of volumes."""
        return f"{self.name}: volume (ml)"

    def expected_heading(self, metric: str) -> str:
        """Of the column of expected scores."""
        return f"{self.name}: expected {_HEADINGS[metric]}"

    def score_heading(self, metric: str) -> str:
        """Of the column of scores."""
        return f"{self.name}: {heading_of(metric, self.distance_unit)}"

    def decision_of(self, record: StudyRecord) -> Mapping[str, Any] | None:
        """What was decided for it; None if nothing was."""
        return next((found for found in record.decisions if tuple(found["labels"]) == self.labels), None)


def label_names(records: FolderRecords) -> dict[int, str]:
    """Label to name, as sidecars say, or the table in the folder of the label maps."""
    for record in records.studies:
        if names := record.label_names:
            return names
    folders = dict.fromkeys(record.label_map.parent for record in records.studies if record.label_map is not None)
    for folder in folders:
        if names := read_label_names(folder):
            return names
    regions = records.summary.get("regions", {})
    return {found["labels"][0]: name for name, found in regions.items() if len(found["labels"]) == 1}


def structures_in(records: FolderRecords, names: Mapping[int, str]) -> list[Structure]:
    """Every class or region that any study has a decision, a volume or a score of; scored regions by their names."""
    regions = {tuple(found["labels"]): name for name, found in records.summary.get("regions", {}).items()}
    labels = dict.fromkeys(regions)
    for record in records.studies:
        details = {} if record.sidecar is None else record.sidecar.details
        labels |= dict.fromkeys(tuple(found["labels"]) for found in record.decisions)
        labels |= dict.fromkeys((int(label),) for label in details.get("volume_ml") or {})
    return [
        Structure(
            regions.get(key) or " + ".join(names.get(label, f"label {label}") for label in key),
            key,
            records.distance_unit,
        )
        for key in sorted(labels, key=lambda key: (-len(key), key))
    ]


def entry_of(
    record: StudyRecord,
    structures: Sequence[Structure],
    metrics: Sequence[str],
    ranked_by: str | None,
) -> StudyEntry:
    """What the page says of a study.

    Args:
        record: What is on disk.
        structures: What there are columns of.
        metrics: Scored metrics that have columns; the others are among the facts.
        ranked_by: Metric by whose mean over structures studies are ranked; None ranks by none.
    """
    values = dict(_values(record, structures, metrics))
    decisions = [structure.decision_of(record) for structure in structures]
    expected = [float(found["expected_score"]) for found in decisions if found is not None]
    true = [region[ranked_by] for region in record.scores.values() if ranked_by is not None]
    defined = [score for score in true if math.isfinite(score)]
    return StudyEntry(
        record.case_id,
        record.status,
        record.reason,
        values,
        score=sum(defined) / len(defined) if defined else None,
        certainty=min(expected, default=None),
        facts=tuple(_facts(record, structures, metrics)),
        notes=record.notes,
    )


def telling_cases(studies: Sequence[StudyEntry]) -> list[str]:
    """Ids of the studies that score lowest, then of the least certain, each once."""
    scores = sorted((study.score, study.case_id) for study in studies if study.score is not None)
    certainties = sorted((study.certainty, study.case_id) for study in studies if study.certainty is not None)
    return list(dict.fromkeys(case_id for _, case_id in (*scores[:MOST_TELLING], *certainties[:MOST_TELLING])))


def _values(
    record: StudyRecord, structures: Sequence[Structure], metrics: Sequence[str]
) -> Iterator[tuple[str, Value]]:
    sidecar = record.sidecar
    voxel_ml = _voxel_ml(record.grid_file)
    volumes = _volumes_ml(record, voxel_ml)
    for structure in structures:
        decision = structure.decision_of(record)
        if volumes is not None:
            volume = sum(volumes.get(label, 0.0) for label in structure.labels)
            interval = None
            if decision is not None and voxel_ml is not None:
                low, high = map(float, decision["volume_interval"])
                interval = (low * voxel_ml, high * voxel_ml)
            yield structure.volume_heading, Value(volume, interval)
        if decision is not None:
            both = sorted((float(decision["independent_score"]), float(decision["coherent_score"])))
            heading = structure.expected_heading(decision["metric"])
            yield heading, Value(float(decision["expected_score"]), (both[0], both[1]))
        for metric in metrics:
            if (score := record.scores.get(structure.name, {}).get(metric)) is not None:
                yield structure.score_heading(metric), Value(score)
    timed = sidecar or record.scoring
    if timed is not None and timed.seconds is not None:
        yield TIME_HEADING, Value(timed.seconds)


def _volumes_ml(record: StudyRecord, voxel_ml: float | None) -> dict[int, float] | None:
    """Label to volume, of labels that occur, as the record says in ml or, of pseudo-labels, in voxels."""
    details = {} if record.sidecar is None else record.sidecar.details
    if (volumes := details.get("volume_ml")) is not None:
        return {int(label): float(volume) for label, volume in volumes.items()}
    if (voxels := details.get("voxels")) is not None and voxel_ml is not None:
        return {int(label): number * voxel_ml for label, number in voxels.items()}
    return None


def _voxel_ml(grid_file: Path | None) -> float | None:
    if grid_file is None:
        return None
    try:
        affine = read_grid(grid_file).affine
    except (StudyError, OSError):
        return None
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000


def _facts(record: StudyRecord, structures: Sequence[Structure], metrics: Sequence[str]) -> Iterator[tuple[str, str]]:
    for structure in structures:
        decision = structure.decision_of(record)
        if decision is not None:
            heading = structure.expected_heading(decision["metric"])
            yield f"{heading} of argmax's label map", f"{float(decision['argmax_expected_score']):.4f}"
            yield f"{structure.name}: probability that it is there", f"{float(decision['presence_probability']):.4f}"
        for metric, score in record.scores.get(structure.name, {}).items():
            if metric not in metrics:
                yield structure.score_heading(metric), find_metric(metric).shown(score)
    for name, path in {"image": record.image, "label map": record.label_map, "reference": record.reference}.items():
        if path is not None:
            yield name, str(path)
    sidecar = record.sidecar or record.scoring
    if sidecar is None:
        return
    yield "inputs", "\n".join(sidecar.inputs)
    yield "recorded", f"{sidecar.time} on {sidecar.host}, by {sidecar.job}"
    for stage, seconds in sidecar.stage_seconds.items():
        yield f"time in {stage} (s)", f"{seconds:.2f}"
    for finding in () if record.scoring is None else record.scoring.details.get("findings") or ():
        yield "finding", str(finding)
    if sidecar.traceback:
        yield "where it failed", sidecar.traceback
