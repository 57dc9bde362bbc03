"""What output folders say of each study: records of jobs, scores, and where images and label maps lie."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rankseg_med.evaluation.run_report.study_record import Scores, StudyRecord
from rankseg_med.evaluation.scoring.files import ScoreTable
from rankseg_med.evaluation.scoring.job import ScoringJob
from rankseg_med.metrics import DistanceUnit
from rankseg_med.runs import FolderStatus, folder_status
from rankseg_med.studies import (
    DicomSegFormat,
    NiftiFormat,
    Sidecar,
    StudyError,
    by_case,
    list_predictions,
    list_studies,
    records_beside,
)
from rankseg_med.workflows import StoredProbabilities

_OF_LABEL_MAPS = (NiftiFormat.suffix, DicomSegFormat.suffix)
_FIRST_CHANNEL = "_0000"
_OF_PROBABILITIES = "decode"
_WITH_IGNORED_VOXELS = "pseudo-label"
_IGNORED_BY_DEFAULT = "255"


@dataclass(frozen=True)
class FolderRecords:
    """What is on disk of a run and, where there is one, its evaluation.

    Attributes:
        folder: The output folder.
        status: Its runs, its own records, and what of these cannot be read.
        studies: By case id, in order.
        metrics: Names of the metrics that were scored.
        summary: The evaluation's ``summary.json``; empty without one.
        problems: What is wrong that is of no study.
    """

    folder: Path
    status: FolderStatus
    studies: tuple[StudyRecord, ...]
    metrics: tuple[str, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def distance_unit(self) -> DistanceUnit:
        """What scored distances are in."""
        unit: DistanceUnit = self.summary.get("distance_unit", "mm")
        return unit


def read_records(
    folder: Path,
    *,
    scores: Path | None = None,
    images: Path | None = None,
    data_root: Path | None = None,
    against: Path | None = None,
) -> FolderRecords:
    """Read what a job left; nothing of it is computed again.

    Args:
        folder: Output folder of predict, decode, pseudo-label or evaluate. Of an evaluation, what made the label maps
            is read from beside them, where they are.
        scores: Output folder of the evaluation of these label maps, for another folder than an evaluation's.
        images: Images of the studies, see `list_studies`, where they no longer lie where they were read from, or were
            not read at all. One image is of the only study, whatever its name.
        data_root: What the paths of a data list of images are relative to; by default the list's own folder.
        against: Other label maps of the same studies, such as argmax's; see `list_predictions`.

    Raises:
        StudyError: A folder has no record, or what is given beside it cannot be used.
    """
    status = folder_status(folder)
    is_evaluation = _is_evaluation(status)
    if is_evaluation and scores is not None:
        raise StudyError(f"{folder}: is the folder of an evaluation itself; leave out {scores}")
    scored = folder if is_evaluation else scores
    evaluation = None if scored is None else _read_evaluation(scored)
    studies = {record.case_id: record for record in _own_records(status, is_evaluation)}
    problems = [*status.refused, *(f"{name}: {reason}" for name, reason in status.unreadable.items())]
    if evaluation is not None:
        for case_id in sorted(evaluation.case_ids - studies.keys()):
            reason = evaluation.failures.get(case_id, "")
            studies[case_id] = StudyRecord(case_id, "failed" if reason else "done", reason)
        studies = {case_id: evaluation.added_to(record) for case_id, record in studies.items()}
        problems += evaluation.problems
    if images is not None:
        listed = list_studies(images, data_root=data_root)
        problems += [fault.reason for fault in listed.faults]
        found = by_case(listed.studies)
        if [*found.values()] == [images] and len(studies) == 1:
            found = dict.fromkeys(studies, images)
        found = {case_id.removesuffix(_FIRST_CHANNEL): image for case_id, image in found.items()} | found
        problems += _lacking(images, "image", studies, found)
        studies = {
            case_id: replace(record, image=found.get(case_id, record.image)) for case_id, record in studies.items()
        }
    if against is not None:
        listed = list_predictions(against)
        problems += [fault.reason for fault in listed.faults]
        others = by_case(listed.studies)
        problems += _lacking(against, "label map", studies, others)
        studies = {case_id: replace(record, against=others.get(case_id)) for case_id, record in studies.items()}
    return FolderRecords(
        folder,
        status,
        tuple(_told_of_image(studies[case_id]) for case_id in sorted(studies)),
        () if evaluation is None else evaluation.metrics,
        {} if evaluation is None else evaluation.summary,
        tuple(problems),
    )


def _lacking(place: Path, what: str, studies: Mapping[str, StudyRecord], found: Mapping[str, Path]) -> Iterator[str]:
    """What a place that was named for all studies does not have, of those that have a label map."""
    missing = [case_id for case_id, record in studies.items() if record.label_map is not None and case_id not in found]
    if missing:
        shown = ", ".join(sorted(missing)[:5]) + (", ..." if len(missing) > 5 else "")
        yield f"{place}: has no {what} of {len(missing)} of {len(studies)} studies: {shown}"


def _is_evaluation(status: FolderStatus) -> bool:
    jobs = {run.job for run in status.runs.values()} | {sidecar.job for sidecar in status.sidecars.values()}
    return jobs == {ScoringJob.name}


def _own_records(status: FolderStatus, is_evaluation: bool) -> Iterable[StudyRecord]:
    for case_id, sidecar in status.sidecars.items():
        if case_id in status.altered:
            state, reason = "altered", status.altered[case_id]
        elif sidecar.status == "started":
            state, reason = "started", f"not finished: since {sidecar.time} on {sidecar.host}"
        else:
            state, reason = str(sidecar.status), sidecar.error or ""
        record = StudyRecord(case_id, state, reason)
        yield record if is_evaluation else _with_files(record, sidecar, status.folder)
    for case_id in status.pending:
        yield StudyRecord(case_id, "pending", "no run has come to it yet")


def _with_files(record: StudyRecord, sidecar: Sidecar, folder: Path) -> StudyRecord:
    # A job may export more after the label map.
    first = next(iter(sidecar.outputs), "")
    label_map = Path(os.path.normpath(folder / first)) if first.endswith(_OF_LABEL_MAPS) else None
    notes = list(record.notes)
    image = None
    if sidecar.job == _OF_PROBABILITIES:
        stored = StoredProbabilities.recorded_in(sidecar.details)
        image = None if stored is None else stored.image
    elif sidecar.inputs:
        image = Path(sidecar.inputs[0])
    ignored = None
    if sidecar.job == _WITH_IGNORED_VOXELS:
        ignored = int(sidecar.settings.get("pseudo_labeller::ignore_index", _IGNORED_BY_DEFAULT))
        notes.append(f"Voxels that training is to ignore ({ignored}) are drawn as background.")
    return replace(record, sidecar=sidecar, label_map=label_map, image=image, ignored_label=ignored, notes=tuple(notes))


def _told_of_image(record: StudyRecord) -> StudyRecord:
    """The record with the reason why stored probabilities have no image, where they have none."""
    sidecar = record.sidecar
    if sidecar is None or sidecar.job != _OF_PROBABILITIES or record.image is not None:
        return record
    note = "Stored probabilities were decoded, and no image: name the images to see them."
    stored = StoredProbabilities.recorded_in(sidecar.details)
    if stored is not None and stored.grid is not None and stored.grid not in stored.files:
        note += f" {stored.grid.name} beside the probabilities may be a label map, such as nnU-Net's own."
    return replace(record, notes=(*record.notes, note))


@dataclass(frozen=True)
class _Evaluation:
    """What an evaluation's folder says."""

    sidecars: Mapping[str, Sidecar]
    scores: Mapping[str, Scores]
    metrics: tuple[str, ...]
    summary: Mapping[str, Any]
    problems: tuple[str, ...]

    @property
    def failures(self) -> Mapping[str, str]:
        failures: Mapping[str, str] = self.summary.get("failures", {})
        return failures

    @property
    def case_ids(self) -> set[str]:
        return {*self.scores, *self.failures}

    def added_to(self, record: StudyRecord) -> StudyRecord:
        """The record with scores and reference, and, of a label map that is not known yet, what made it."""
        sidecar, notes = self.sidecars.get(record.case_id), list(record.notes)
        if (reason := self.failures.get(record.case_id)) and reason != record.reason:
            notes.append(f"No score: {reason}")
        *prediction, reference = map(Path, sidecar.inputs if sidecar and sidecar.inputs else [""])
        if sidecar is not None and prediction and record.label_map is None and record.sidecar is None:
            record = _predicted(record, prediction[0])
            notes += record.notes
        return replace(
            record,
            scoring=sidecar,
            scores=self.scores.get(record.case_id, {}),
            reference=reference if sidecar and sidecar.inputs else None,
            notes=tuple(dict.fromkeys(notes)),
        )


def _predicted(record: StudyRecord, label_map: Path) -> StudyRecord:
    """The record with the label map that was scored, and with the job's record, where that lies beside it."""
    with suppress(StudyError, OSError):
        records = records_beside(label_map)
        sidecar = Sidecar.read(Sidecar.path_in(records, record.case_id))
        return replace(_with_files(record, sidecar, records), label_map=label_map)
    note = f"Nothing is known of how {label_map.name} was made: there is no record of it."
    return replace(record, label_map=label_map, notes=(*record.notes, note))


def _read_evaluation(folder: Path) -> _Evaluation:
    status = folder_status(folder)
    if not _is_evaluation(status):
        raise StudyError(f"{folder}: must be the output folder of evaluate; it has records of something else")
    problems = []
    scores, metrics = read_scores(folder / "scores.csv")
    summary_file = folder / "summary.json"
    summary: Mapping[str, Any] = {}
    try:
        summary = json.loads(summary_file.read_text(encoding="utf-8"))
        problems += [f"evaluation: {warning}" for warning in summary["warnings"]]
    except FileNotFoundError:
        problems.append(f"{folder}: has no scores of all studies yet; run evaluate without --shard to gather them")
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{summary_file}: must be what evaluate writes ({error}); run evaluate again") from error
    return _Evaluation(status.sidecars, scores, metrics, summary, tuple(problems))


def read_scores(path: Path) -> tuple[dict[str, dict[str, dict[str, float]]], tuple[str, ...]]:
    """Scores study by study.

    Returns:
        Case id to region to metric to value, and the names of the metrics; nothing where there is no file yet.

    Raises:
        InputError: It is not what `write_scores` writes.
    """
    if not path.exists():
        return {}, ()
    table = ScoreTable.read(path)
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for region, cases in table.rows.items():
        for case_id in cases:
            found = {metric: table.score(region, case_id, metric) for metric in table.metrics}
            scores.setdefault(case_id, {})[region] = found
    return scores, table.metrics
