"""Compare two evaluations of the same cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rankseg_med import __version__
from rankseg_med.evaluation.comparison.scored_runs import check_scored_alike, read_runs
from rankseg_med.evaluation.patients import read_patients
from rankseg_med.metrics import DistanceUnit, PairedComparison, compare_paired
from rankseg_med.studies import write_json


@dataclass(frozen=True)
class RegionComparison:
    """One metric of one region in both runs.

    Attributes:
        region: name of the region.
        metric: column of ``scores.csv``.
        result: what changes from run A to run B.
        missing: ids of the cases that one run alone knows, be it as failures.
        distance_unit: what distances are in.
    """

    region: str
    metric: str
    result: PairedComparison
    missing: tuple[str, ...] = ()
    distance_unit: DistanceUnit = "mm"


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
            is unknown, has no better side or was measured by another definition in the other run (labels, rule for
            empty masks, unit, surface, tolerance), or a scored case has no patient.
        OSError: a file cannot be read or written.
    """
    a, b = read_runs((run_a, run_b))
    patient_of = None if patients is None else read_patients(patients, a.scored_ids | b.scored_ids)
    missing = tuple(sorted(a.case_ids ^ b.case_ids))
    comparisons = []
    for region in a.regions:
        for metric in metrics:
            scores_a, scores_b = a.scores(region, metric), b.scores(region, metric)
            check_scored_alike((a, b), region, metric)
            result = compare_scores(scores_a, scores_b, metric, patients=patient_of, thresholds=thresholds)
            comparisons.append(RegionComparison(region, metric, result, missing, a.distance_unit))
    if output is not None:
        _write(comparisons, run_a, run_b, output)
    return comparisons


def compare_scores(
    scores_a: Mapping[str, float | None],
    scores_b: Mapping[str, float | None],
    metric: str,
    *,
    patients: Mapping[str, str] | None,
    thresholds: Sequence[float] | None,
) -> PairedComparison:
    """`compare_paired` of scores as a `ScoredRun` has them, where failed cases are None."""
    a, b = (
        {case_id: math.nan if score is None else score for case_id, score in scores.items()}
        for scores in (scores_a, scores_b)
    )
    return compare_paired(a, b, metric, patients=patients, thresholds=thresholds)


def _write(comparisons: Sequence[RegionComparison], run_a: Path, run_b: Path, path: Path) -> None:
    content = {
        "package_version": __version__,
        "run_a": str(run_a),
        "run_b": str(run_b),
        "comparisons": [asdict(comparison) for comparison in comparisons],
    }
    write_json(content, path)
