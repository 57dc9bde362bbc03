"""What a report's page says of records on disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64

from rankseg_med import __version__
from rankseg_med.evaluation.quality import quality_of
from rankseg_med.evaluation.run_report.argmax import has_probabilities
from rankseg_med.evaluation.run_report.records import FolderRecords
from rankseg_med.evaluation.run_report.studies import (
    MOST_TELLING,
    TIME_HEADING,
    Structure,
    entry_of,
    label_names,
    structures_in,
)
from rankseg_med.metrics import DistanceUnit, find_metric
from rankseg_med.report import Column, PageContent, StudyEntry, TextTable
from rankseg_med.runs import now
from rankseg_med.studies import Sidecar

_PREFERRED = ("dice", "surface_dice", "hd95_mm")
_SCORE_OF = {"dice": "dice", "iou": "jaccard"}
"""Metric that label maps are decoded for, to the metric that is scored."""

ExpectedAndTrue: TypeAlias = tuple[Float64[np.ndarray, " studies"], Float64[np.ndarray, " studies"]]
"""Expected and true scores of the same studies."""


def content_of(records: FolderRecords) -> PageContent:
    """The page's content, without pictures."""
    structures = structures_in(records, label_names(records))
    metrics = tuple(name for name in _PREFERRED if name in records.metrics) or records.metrics
    ranked_by = next((name for name in metrics if find_metric(name).higher_is_better), None)
    studies = tuple(entry_of(record, structures, metrics, ranked_by) for record in records.studies)
    return PageContent(
        title=f"Report on {records.folder.resolve().name}",
        summary=tuple(_summary(records)),
        columns=tuple(_columns(records, structures, metrics, studies)),
        studies=studies,
        tables=tuple(_tables(records, structures, metrics)),
        problems=records.problems,
        settings=_settings(records),
        versions=_versions(records),
        ranking=_ranking(ranked_by),
        notes=tuple(_notes(records)),
    )


def _summary(records: FolderRecords) -> Iterator[tuple[str, str]]:
    counts = Counter(record.status for record in records.studies)
    shown = ", ".join(f"{number} {status}" for status, number in counts.most_common())
    yield "studies", f"{len(records.studies)}: {shown}" if records.studies else "none"
    if records.metrics:
        scored = sum(bool(record.scores) for record in records.studies)
        yield "scored", f"{scored} of {len(records.studies)}"
    for name, run in records.status.runs.items():
        when = f"since {run.started}" if run.ended is None else f"{run.started} to {run.ended}"
        yield f"run ({name})", f"{run.job} of {len(run.cases)} studies, {run.status}, {when}, {run.host} {run.device}"
        if run.peak_memory_bytes is not None:
            yield f"memory ({name})", f"{run.peak_memory_bytes / 1e9:.1f} GB at most"
    yield "folder", str(records.folder.resolve())
    yield "report", f"{now()}, rankseg_med {__version__}"


def _columns(
    records: FolderRecords, structures: list[Structure], metrics: tuple[str, ...], studies: tuple[StudyEntry, ...]
) -> Iterator[Column]:
    columns = [
        column
        for structure in structures
        for column in (
            Column(structure.volume_heading, 2),
            *(Column(structure.expected_heading(metric), 4, True) for metric in _SCORE_OF),
            *(_score_column(structure, name) for name in metrics),
        )
    ]
    # Only what any study has.
    used = {heading for study in studies for heading in study.values}
    yield from (column for column in columns if column.heading in used)
    if TIME_HEADING in used:
        yield Column(TIME_HEADING, 1, False)


def _score_column(structure: Structure, metric: str) -> Column:
    found = find_metric(metric)
    return Column(structure.score_heading(metric), 2 if found.unit else 4, found.higher_is_better)


def _tables(records: FolderRecords, structures: list[Structure], metrics: tuple[str, ...]) -> Iterator[TextTable]:
    if records.summary:
        yield _score_table(records.summary, metrics, records.distance_unit)
    rows = [row for structure in structures for row in _agreement(records, structure)]
    if rows:
        yield TextTable(
            "Expected against true scores",
            ("structure", "metric", "studies", "bias", "mean abs. error", "Spearman", "AURC"),
            tuple(rows),
            note="Bias: expected less true. AURC: area under the risk-coverage curve, 0 being best.",
        )


def _score_table(summary: Mapping[str, Any], metrics: tuple[str, ...], distances: DistanceUnit) -> TextTable:
    rows = []
    for region, statistics in summary["regions"].items():
        for name in metrics:
            found = statistics[name]
            mean, low, high, median = (_shown(name, found[key]) for key in ("mean", "mean_low", "mean_high", "median"))
            counts = (str(found["n"]), str(found["n_undefined"]), str(summary["n_failed"]))
            interval = "-" if low == "-" else f"{low} to {high}"
            rows.append((region, find_metric(name).titled(distances, link=" "), mean, interval, median, *counts))
    headings = ("structure", "metric", "mean", "95 % interval", "median", "studies", "undefined", "failed")
    policy = summary["scoring"]["empty_policy"]["name"]
    note = (
        f"Interval: {summary['interval']}. Empty masks score by the policy {policy!r}; failed studies are in no mean."
    )
    return TextTable("Scores", headings, tuple(rows), note=note)


def _shown(name: str, value: float | None) -> str:
    return find_metric(name).shown(math.nan if value is None else value)


def _agreement(records: FolderRecords, structure: Structure) -> Iterator[tuple[str, ...]]:
    for metric, (expected, true) in expected_and_true(records, structure).items():
        found = quality_of(expected, true)
        numbers = (found.bias, found.mean_absolute_error, found.spearman, found.aurc)
        shown = ("-" if math.isnan(number) else f"{number:.4f}" for number in numbers)
        yield structure.name, find_metric(metric).heading, str(found.cases), *shown


def expected_and_true(records: FolderRecords, structure: Structure) -> dict[str, ExpectedAndTrue]:
    """Scored metric to expected and true scores of the studies that have both; metrics without any are left out."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for record in records.studies:
        decision = structure.decision_of(record)
        if decision is None:
            continue
        metric = _SCORE_OF[decision["metric"]]
        true = record.scores.get(structure.name, {}).get(metric, math.nan)
        expected = float(decision["expected_score"])
        if math.isfinite(true) and math.isfinite(expected):
            pairs.setdefault(metric, []).append((expected, true))
    return {metric: (np.array(found)[:, 0], np.array(found)[:, 1]) for metric, found in pairs.items()}


def _settings(records: FolderRecords) -> tuple[tuple[str, str], ...]:
    """Of the label maps' job and of the evaluation; a setting that differs among studies is shown with each value."""
    values: dict[str, dict[str, None]] = {}
    for sidecar in _sidecars(records):
        for name, value in sidecar.settings.items():
            values.setdefault(f"{sidecar.job}: {name}", {})[value] = None
    return tuple((name, "\n".join(found)) for name, found in values.items())


def _versions(records: FolderRecords) -> tuple[tuple[str, str], ...]:
    versions: dict[str, dict[str, None]] = {}
    for sidecar in _sidecars(records):
        for name, version in sidecar.versions.items():
            versions.setdefault(name, {})[version] = None
    return tuple((name, ", ".join(found)) for name, found in versions.items())


def _sidecars(records: FolderRecords) -> Iterator[Sidecar]:
    """Of what made each study's label map, and of what scored it."""
    both = (sidecar for record in records.studies for sidecar in (record.sidecar, record.scoring))
    return (sidecar for sidecar in both if sidecar is not None)


def _ranking(ranked_by: str | None) -> str:
    worst = "" if ranked_by is None else f"Worst: lowest mean {find_metric(ranked_by).heading} over structures. "
    return (
        f"{worst}Least certain: lowest expected score of any structure. Studies without either are in the table alone."
    )


def _notes(records: FolderRecords) -> Iterator[str]:
    yield (
        "Expected scores are what a label map would score on average if the probabilities were right; in brackets "
        "what they are if voxels were independent and if they were as dependent as can be (the coherent posterior)."
    )
    yield "Volumes are of the label map as written; in brackets the 5 % and 95 % quantile by the coherent posterior."
    if not records.metrics:
        yield "There are no scores: give the output folder of evaluate to show them beside the studies."
    if any(record.against is None and has_probabilities(record) for record in records.studies):
        yield (
            f"Argmax's label maps are made again of the stored probabilities, of the {MOST_TELLING} studies that score "
            f"lowest and the {MOST_TELLING} least certain alone."
        )
    elif all(record.against is None for record in records.studies):
        yield (
            "Label maps by argmax are not kept by any job, so disagreement with them is not drawn; each study's page "
            "gives argmax's expected score instead. Decode by argmax into another folder and name that to see it."
        )
    yield "Open the page from where it lies: if it has a folder of files beside it, copy both together."
    yield "The page shows images and names of files: treat it as you treat the scans."
