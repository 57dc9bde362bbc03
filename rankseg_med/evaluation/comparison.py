"""Compare two evaluations of the same cases."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rankseg_med import __version__
from rankseg_med.errors import InputError
from rankseg_med.evaluation.files import ScoreTable
from rankseg_med.evaluation.patients import read_patients
from rankseg_med.metrics import PairedComparison, compare_paired
from rankseg_med.studies import write_json


@dataclass(frozen=True)
class RegionComparison:
    """One metric of one region in both runs.

    Attributes:
        region: name of the region.
        metric: column of ``scores.csv``.
        result: what changes from run A to run B.
        missing: ids of the cases that one run alone knows, be it as failures.
    """

    region: str
    metric: str
    result: PairedComparison
    missing: tuple[str, ...] = ()


def compare(
    run_a: Path,
    run_b: Path,
    metrics: Sequence[str] = ("dice",),
    *,
    patients: str | None = None,
    thresholds: Sequence[float] | None = None,
    output: Path | None = None,
) -> list[RegionComparison]:
    """Compare the scores of two runs region by region and metric by metric, see `compare_paired`.

    Cases that failed in a run (``summary.json``, where it is there) have no score in it.

    Args:
        run_a: folder with the ``scores.csv`` of `evaluate`; the run compared with.
        run_b: the same for the run in question.
        metrics: columns of ``scores.csv`` that are names of metrics, see `find_metric`.
        patients: CSV file or regular expression, see `read_patients`; None takes cases for independent.
        thresholds: smallest changes that matter, in units of the metric; None takes 0 and 0.01, or 0 and 1 mm.
        output: JSON file for the results; an undefined number is ``null``.

    Returns:
        The comparisons, metric by metric within each region, regions in their order in run A.

    Raises:
        ValueError: a file is not what `evaluate` writes, the runs have other regions or no case in common, a metric
            is unknown or has no better side, or a case has no patient.
        OSError: a file cannot be read or written.
    """
    a, b = _Run.read(run_a), _Run.read(run_b)
    if a.rows.keys() != b.rows.keys():
        raise InputError(f"both runs must score the same regions, got {list(a.rows)} and {list(b.rows)}")
    if not any(a.rows[region].keys() & b.rows[region].keys() for region in a.rows):
        raise InputError(f"{run_a} and {run_b} must have a case in common, got none; are they of one data set?")
    patient_of = None if patients is None else read_patients(patients, a.case_ids | b.case_ids)
    missing = tuple(sorted(a.case_ids ^ b.case_ids))
    comparisons = []
    for region in a.rows:
        for metric in metrics:
            scores = a.scores(region, metric), b.scores(region, metric)
            result = compare_paired(*scores, metric, patients=patient_of, thresholds=thresholds)
            comparisons.append(RegionComparison(region, metric, result, missing))
    if output is not None:
        _write(comparisons, run_a, run_b, output)
    return comparisons


@dataclass(frozen=True)
class _Run:
    """What `evaluate` wrote: its table of scores, and the cases that failed."""

    table: ScoreTable
    failed: frozenset[str]

    @classmethod
    def read(cls, folder: Path) -> _Run:
        path = folder / "scores.csv"
        if not path.is_file():
            raise InputError(f"{folder}: holds no scores.csv; give a folder that rankseg-med evaluate --output wrote")
        summary = folder / "summary.json"
        failures = json.loads(summary.read_text(encoding="utf-8"))["failures"] if summary.is_file() else ()
        return cls(ScoreTable.read(path), frozenset(failures))

    @property
    def rows(self) -> dict[str, dict[str, dict[str, str]]]:
        return self.table.rows

    @property
    def case_ids(self) -> frozenset[str]:
        return self.failed.union(*self.rows.values())

    def scores(self, region: str, metric: str) -> dict[str, float]:
        """Case id to score, NaN for cases that failed."""
        scored = {case_id: self.table.score(region, case_id, metric) for case_id in self.rows[region]}
        return dict.fromkeys(self.failed, math.nan) | scored


def _write(comparisons: Sequence[RegionComparison], run_a: Path, run_b: Path, path: Path) -> None:
    content = {
        "package_version": __version__,
        "run_a": str(run_a),
        "run_b": str(run_b),
        "comparisons": [asdict(comparison) for comparison in comparisons],
    }
    write_json(content, path)
