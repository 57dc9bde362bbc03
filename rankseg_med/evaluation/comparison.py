"""Compare two evaluations of the same cases."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rankseg_med import __version__
from rankseg_med.errors import InputError
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
    """What `evaluate` wrote: region to case id to row of the table, and the cases that failed."""

    table: Path
    rows: dict[str, dict[str, dict[str, str]]]
    failed: frozenset[str]

    @classmethod
    def read(cls, folder: Path) -> _Run:
        path = folder / "scores.csv"
        if not path.is_file():
            raise InputError(f"{folder}: holds no scores.csv; give a folder that rankseg-med evaluate --output wrote")
        rows: dict[str, dict[str, dict[str, str]]] = {}
        with path.open(newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream)
            if not {"case_id", "name"} <= set(table.fieldnames or ()):
                raise InputError(f"{path}: needs the columns case_id and name, got {table.fieldnames}")
            for row in table:
                cases = rows.setdefault(row["name"], {})
                if row["case_id"] in cases:
                    raise InputError(f"{path}: has {row['name']} of {row['case_id']} twice; evaluate the run again")
                cases[row["case_id"]] = row
        summary = folder / "summary.json"
        failures = json.loads(summary.read_text(encoding="utf-8"))["failures"] if summary.is_file() else ()
        return cls(path, rows, frozenset(failures))

    @property
    def case_ids(self) -> frozenset[str]:
        return self.failed.union(*self.rows.values())

    def scores(self, region: str, metric: str) -> dict[str, float]:
        """Case id to score, NaN for cases that failed."""
        scores = dict.fromkeys(self.failed, math.nan)
        for case_id, row in self.rows[region].items():
            if metric not in row:
                raise InputError(f"{self.table}: needs the column {metric}, got {', '.join(row)}")
            try:
                scores[case_id] = float(row[metric])
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"{self.table}: {metric} of {case_id} must be a number, got {row[metric]!r}"
                ) from error
        return scores


def _write(comparisons: Sequence[RegionComparison], run_a: Path, run_b: Path, path: Path) -> None:
    content = {
        "package_version": __version__,
        "run_a": str(run_a),
        "run_b": str(run_b),
        "comparisons": [asdict(comparison) for comparison in comparisons],
    }
    write_json(content, path)
