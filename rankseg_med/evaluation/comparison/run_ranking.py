"""Rank several evaluations of the same cases, and compare each two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from rankseg_med import __version__
from rankseg_med.errors import InputError
from rankseg_med.evaluation.comparison.compare import compare_scores
from rankseg_med.evaluation.comparison.scored_runs import check_scored_alike, read_runs
from rankseg_med.evaluation.patients import read_patients
from rankseg_med.metrics import DistanceUnit, PairedComparison, Ranking, holm, rank_runs, ranks_by
from rankseg_med.studies import write_json


@dataclass(frozen=True)
class RunPair:
    """Two of several runs. p values are corrected for the number of pairs in the region and metric.

    Attributes:
        run_a: Name of the run compared with.
        run_b: Name of the run in question.
        result: What changes from the one to the other, its p values not corrected.
        wilcoxon_p: p value of the Wilcoxon signed-rank test, corrected by Holm.
        sign_test_p: p value of the sign test, corrected by Holm.
        nemenyi_p: p value of Nemenyi's test, which is corrected by itself.
    """

    run_a: str
    run_b: str
    result: PairedComparison
    wilcoxon_p: float
    sign_test_p: float
    nemenyi_p: float


@dataclass(frozen=True)
class RegionRanking:
    """One metric of one region in all runs.

    Attributes:
        region: Name of the region.
        metric: Column of ``scores.csv``.
        ranking: Which run is best.
        pairs: Every pair of runs.
        distance_unit: What distances are in.
    """

    region: str
    metric: str
    ranking: Ranking
    pairs: tuple[RunPair, ...]
    distance_unit: DistanceUnit = "mm"


@dataclass(frozen=True)
class ConsensusStanding:
    """Where a run stands over all regions and metrics.

    Attributes:
        run: Name of the run.
        rank: Rank by ``mean_rank``; ties share the best rank that they span.
        mean_rank: Mean of the run's ranks.
    """

    run: str
    rank: float
    mean_rank: float


@dataclass(frozen=True)
class RunRanking:
    """Several runs, ranked and compared.

    Attributes:
        runs: Name to folder.
        rankings: Rankings, metric by metric within each region.
        consensus: The runs over all rankings in which a case was ranked; empty if these are fewer than two.
        missing: Name to the cases that the run does not know, be it as failures, but another does.
    """

    runs: Mapping[str, Path]
    rankings: tuple[RegionRanking, ...]
    consensus: tuple[ConsensusStanding, ...]
    missing: Mapping[str, tuple[str, ...]]


def compare_runs(
    runs: Mapping[str, Path],
    metrics: Sequence[str] = ("dice",),
    *,
    scheme: str = "rank-then-mean",
    patients: str | None = None,
    thresholds: Sequence[float] | None = None,
    output: Path | None = None,
) -> RunRanking:
    """Rank three runs or more region by region and metric by metric, see `rank_runs`, and compare each two of them.

    A case that failed in a run (``summary.json``, where it is there), or that it lacks, has the worst rank there.

    Args:
        runs: Name to folder with the ``scores.csv`` of `evaluate`, see `name_runs`.
        metrics: Columns of ``scores.csv`` that are names of metrics, see `find_metric`.
        scheme: What orders the runs, see `RANKING_SCHEMES`.
        patients: CSV file or regular expression, see `read_patients`; None takes cases for independent.
        thresholds: Smallest changes that matter, in units of the metric; None takes 0 and 0.01, or 0 and 1 mm.
        output: JSON file for the results; an undefined number is ``null``.

    Raises:
        ValueError: There are fewer than three runs, a file is not what `evaluate` writes, a run has other regions than
            the first or no case in common with it, a metric is unknown, has no better side or was measured by another
            definition in another run (labels, rule for empty masks, unit, surface, tolerance), or a case has no
            patient.
        OSError: A file cannot be read or written.
    """
    if len(runs) < 3:
        raise InputError(f"a ranking needs at least 3 runs, got {len(runs)}; compare two with compare")
    scored = dict(zip(runs, read_runs(list(runs.values())), strict=True))
    case_ids = frozenset[str]().union(*(run.case_ids for run in scored.values()))
    ranked = frozenset[str]().union(*(run.scored_ids for run in scored.values()))
    patient_of = None if patients is None else read_patients(patients, ranked)
    first = next(iter(scored.values()))
    rankings = []
    for region in first.regions:
        for metric in metrics:
            scores = {name: run.scores(region, metric) for name, run in scored.items()}
            check_scored_alike(list(scored.values()), region, metric)
            ranking = rank_runs(scores, metric, scheme=scheme, patients=patient_of)
            results = {
                (a, b): compare_scores(scores[a], scores[b], metric, patients=patient_of, thresholds=thresholds)
                for a, b in combinations(runs, 2)
            }
            rankings.append(RegionRanking(region, metric, ranking, _pairs(results, ranking), first.distance_unit))
    missing = {name: tuple(sorted(case_ids - run.case_ids)) for name, run in scored.items()}
    found = RunRanking(runs, tuple(rankings), _consensus([entry.ranking for entry in rankings]), missing)
    if output is not None:
        _write(found, scheme, output)
    return found


def _pairs(results: Mapping[tuple[str, str], PairedComparison], ranking: Ranking) -> tuple[RunPair, ...]:
    index = {standing.run: number for number, standing in enumerate(ranking.standings)}
    wilcoxon = holm([result.wilcoxon_p for result in results.values()]).tolist()
    sign_test = holm([result.sign_test_p for result in results.values()]).tolist()
    nemenyi = [ranking.tests.nemenyi_p[index[a]][index[b]] for a, b in results]
    return tuple(
        RunPair(a, b, result, *p_values)
        for ((a, b), result), *p_values in zip(results.items(), wilcoxon, sign_test, nemenyi, strict=True)
    )


def _consensus(rankings: Sequence[Ranking]) -> tuple[ConsensusStanding, ...]:
    standings = [ranking.standings for ranking in rankings if ranking.n_cases]
    if len(standings) < 2:
        return ()
    means = np.array([[standing.rank for standing in row] for row in standings]).mean(0)
    ranks = ranks_by(-means[None])[0]
    return tuple(
        ConsensusStanding(standing.run, *numbers)
        for standing, *numbers in zip(standings[0], ranks.tolist(), means.tolist(), strict=True)
    )


def _write(found: RunRanking, scheme: str, path: Path) -> None:
    content = {
        "package_version": __version__,
        "runs": {name: str(folder) for name, folder in found.runs.items()},
        "scheme": scheme,
        "missing": found.missing,
        "comparisons": [{**_where(entry), **asdict(pair)} for entry in found.rankings for pair in entry.pairs],
        "ranking": [{**_where(entry), **asdict(entry.ranking)} for entry in found.rankings],
        "consensus": [asdict(standing) for standing in found.consensus],
    }
    write_json(content, path)


def _where(entry: RegionRanking) -> dict[str, str]:
    return {"region": entry.region, "metric": entry.metric, "distance_unit": entry.distance_unit}
