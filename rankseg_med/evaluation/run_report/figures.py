"""Figures for papers of what is on record of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from rankseg_med.evaluation.quality import risk_coverage
from rankseg_med.evaluation.run_report.content import ExpectedAndTrue, expected_and_true
from rankseg_med.evaluation.run_report.records import FolderRecords
from rankseg_med.evaluation.run_report.studies import (
    Structure,
    heading_of,
    label_names,
    structures_in,
    telling_cases,
)
from rankseg_med.evaluation.run_report.study_record import StudyRecord
from rankseg_med.evaluation.run_report.volumes import viewed
from rankseg_med.executors import map_items
from rankseg_med.metrics import find_metric
from rankseg_med.report import (
    PageContent,
    ReliabilityCurve,
    save_agreement,
    save_box_plots,
    save_reliability_diagrams,
    save_risk_coverage,
    save_study_overlay,
)

_BINS = 10
_FORMATS = ("png", "pdf")


def save_figures(records: FolderRecords, folder: Path) -> Iterator[Path]:
    """Save what there are facts for, each plot as PNG and as PDF.

    - ``box-<metric>``: scores of each structure, undefined ones left out and counted by the ``n`` below.
    - ``agreement-<metric>``: expected against true scores, study by study, where there are both.
    - ``reliability-<metric>``: mean true score by tenths of the expected score, where there are both.
    - ``risk-coverage-<metric>``: by expected score, where there are both.

    Args:
        records: What is on disk.
        folder: Folder of the figures; existing ones are replaced.

    Yields:
        Each file that was written.

    Raises:
        OSError: A file cannot be written.
    """
    structures = structures_in(records, label_names(records))
    for metric in records.metrics:
        yield from _box_plots(records, structures, metric, folder)
    pairs: dict[str, dict[str, ExpectedAndTrue]] = {}
    for structure in structures:
        for metric, both in expected_and_true(records, structure).items():
            pairs.setdefault(metric, {})[structure.name] = both
    for metric, by_structure in pairs.items():
        heading = find_metric(metric).heading
        curves = {name: risk_coverage(expected, true) for name, (expected, true) in by_structure.items()}
        diagrams = {name: {"studies": _reliability(*both)} for name, both in by_structure.items()}
        for ending in _FORMATS:
            agreement, coverage, reliability = (
                folder / f"{kind}-{metric}.{ending}" for kind in ("agreement", "risk-coverage", "reliability")
            )
            save_agreement(agreement, by_structure, score=heading)
            save_risk_coverage(coverage, curves, score=heading)
            across, up = f"expected {heading}", f"mean true {heading}"
            save_reliability_diagrams(reliability, diagrams, axes_are=(across, up))
            yield from (agreement, coverage, reliability)


def _box_plots(records: FolderRecords, structures: Sequence[Structure], metric: str, folder: Path) -> Iterator[Path]:
    found = find_metric(metric)
    groups = {}
    for structure in structures:
        scores = [
            record.scores[structure.name][metric] for record in records.studies if structure.name in record.scores
        ]
        if finite := [score for score in scores if math.isfinite(score)]:
            groups[structure.name] = np.array(finite)
    if not groups:
        return
    axis = heading_of(metric, records.distance_unit)
    for ending in _FORMATS:
        path = folder / f"box-{metric}.{ending}"
        save_box_plots(path, groups, axis=axis, best=1.0 if found.higher_is_better else None)
        yield path


def _reliability(expected: Float64[np.ndarray, " _"], true: Float64[np.ndarray, " _"]) -> ReliabilityCurve:
    """Mean true score of the studies in each tenth of the expected score; the error is weighted by studies."""
    bins = np.minimum((expected * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    with np.errstate(invalid="ignore"):
        means, found = (np.bincount(bins, of, minlength=_BINS) / counts for of in (expected, true))
    filled = counts > 0
    error = float((counts[filled] * np.abs(means - found)[filled]).sum() / counts.sum())
    return ReliabilityCurve(means, found, error)


def save_overlays(records: FolderRecords, content: PageContent, folder: Path, workers: int = 1) -> Iterator[Path]:
    """Save overlays, ``overlays/<case id>``, of the studies that score lowest and of the least certain, PNG and PDF.

    Each has three planes, with the reference and other label maps beside the study's own. A study that cannot be drawn
    has none; the page says why.

    Args:
        records: What is on disk.
        content: What the page says, which ranks them.
        folder: Folder of the figures.
        workers: Processes that read and draw studies.

    Yields:
        Each file that was written.

    Raises:
        OSError: A file cannot be written.
    """
    by_id = {record.case_id: record for record in records.studies}
    telling = [by_id[case_id] for case_id in telling_cases(content.studies)]
    save = partial(_save_overlay, names=label_names(records), folder=folder / "overlays")
    for saved in map_items(save, telling, workers):
        if isinstance(saved, Exception):
            raise saved
        yield from saved


def _save_overlay(record: StudyRecord, names: Mapping[int, str], folder: Path) -> tuple[Path, ...]:
    try:
        view = viewed(record, [])
    except Exception:  # noqa: BLE001 - whatever it is, the page has met it before
        return ()
    if view is None:
        return ()
    paths = tuple(folder / f"{record.case_id}.{ending}" for ending in _FORMATS)
    for path in paths:
        save_study_overlay(path, view, names, heading="label map", title=record.case_id)
    return paths
