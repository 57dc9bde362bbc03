"""What comparisons say, as tables: each number is written once, and tables choose among its columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rankseg_med.evaluation.comparison.compare import RegionComparison
from rankseg_med.evaluation.comparison.run_ranking import ConsensusStanding, RegionRanking
from rankseg_med.metrics import DistanceUnit, PairedComparison, Standing, find_metric
from rankseg_med.report import TextTable

Record = Mapping[str, str]
"""Heading to cell."""

_INTERVAL = "95 % interval"
_CHANGE = ("mean A", "mean B", "B - A", _INTERVAL)
_OUTCOMES = ("wins/ties/losses by change", "worst case", "best case")
_WORDS = {
    "rank-then-mean": "mean over the cases of the rank within each",
    "mean-then-rank": "mean score",
    "significance": "number of runs beaten",
}


def pair_records(comparisons: Sequence[RegionComparison], name_a: str, name_b: str) -> list[Record]:
    """One record for each region and metric of two runs."""
    return [
        {
            **{"region": comparison.region, "metric": comparison.metric, "A": name_a, "B": name_b},
            **_change(comparison.result, comparison.metric),
            "Wilcoxon p": _p_value(comparison.result.wilcoxon_p),
            "sign test p": _p_value(comparison.result.sign_test_p),
            **_outcomes(comparison.result, comparison.metric),
        }
        for comparison in comparisons
    ]


def pairs_records(entry: RegionRanking) -> list[Record]:
    """One record for each pair of several runs."""
    return [
        {
            **{"region": entry.region, "metric": entry.metric, "A": pair.run_a, "B": pair.run_b},
            **_change(pair.result, entry.metric),
            "Wilcoxon p\nby Holm": _p_value(pair.wilcoxon_p),
            "sign test p\nby Holm": _p_value(pair.sign_test_p),
            "Nemenyi p": _p_value(pair.nemenyi_p),
            **_outcomes(pair.result, entry.metric),
        }
        for pair in entry.pairs
    ]


def standing_records(entry: RegionRanking) -> list[Record]:
    """One record for each run, the best first."""
    by_rank = sorted(entry.ranking.standings, key=lambda standing: standing.rank)
    cases = {"cases": str(entry.ranking.n_cases), "patients": str(entry.ranking.n_patients)}
    where = {"region": entry.region, "metric": entry.metric}
    return [{**where, **_standing(standing, entry.metric), **cases} for standing in by_rank]


def change_table(
    records: Sequence[Record], name_a: str, name_b: str, *, distance_unit: DistanceUnit = "mm"
) -> TextTable:
    """What changes from one run to another, a region and metric a row."""
    of_distances = " Distances are in voxels." if distance_unit == "voxel" else ""
    is_clustered = any(record["cases"] != record["patients"] for record in records)
    counts = ("cases", "patients") if is_clustered else ("cases",)
    return table_of(
        f"From run A ({name_a}) to run B ({name_b})",
        records,
        ("region", "metric", *counts, *_CHANGE, "Wilcoxon p", "sign test p"),
        note="Differences are B less A, with percentile bootstrap interval. Wilcoxon signed-rank and sign test: "
        f"two-sided p values, not corrected for the number of rows.{of_distances}",
    )


def pairs_table(entry: RegionRanking, records: Sequence[Record]) -> TextTable:
    """What changes between each two of several runs."""
    return table_of(
        f"Pairs of runs: {_titled(entry)}",
        records,
        ("A", "B", "cases", *_CHANGE, "Wilcoxon p\nby Holm", "sign test p\nby Holm", "Nemenyi p"),
        note="Differences are B less A, with percentile bootstrap interval, over the cases with a score in both. "
        f"Two-sided p values of all {len(records)} pairs: Wilcoxon signed-rank and sign test corrected by Holm, "
        "Nemenyi's by itself; not corrected for the number of regions and metrics.",
    )


def outcome_table(title: str, labels: tuple[str, str], records: Sequence[Record]) -> TextTable:
    """In how many cases runs gain and lose, and in which most."""
    return table_of(title, records, (*labels, *_OUTCOMES), numbers_from=len(labels) + len(_OUTCOMES))


def ranking_table(entry: RegionRanking, records: Sequence[Record]) -> TextTable:
    """Where each run stands."""
    return table_of(
        f"Ranking: {_titled(entry)}",
        records,
        ("run", "rank", _INTERVAL, "first", "mean rank", "mean score", "beaten", "missed"),
        numbers_from=1,
        note=" ".join(_ranking_notes(entry)),
    )


def consensus_table(consensus: Sequence[ConsensusStanding], rankings: Sequence[RegionRanking]) -> TextTable:
    """Where each run stands over all regions and metrics."""
    ranked = [entry for entry in rankings if entry.ranking.n_cases]
    ranks = [{standing.run: standing.rank for standing in entry.ranking.standings} for entry in ranked]
    rows = [
        (standing.run, f"{standing.rank:g}", f"{standing.mean_rank:.2f}", *(f"{of[standing.run]:g}" for of in ranks))
        for standing in sorted(consensus, key=lambda standing: standing.rank)
    ]
    return TextTable(
        "Consensus of the rankings",
        ("run", "rank", "mean of ranks", *(f"{entry.region}\n{entry.metric}" for entry in ranked)),
        tuple(rows),
        numbers_from=1,
        note=f"By the mean of the ranks in {len(ranked)} regions and metrics, each counted alike.",
    )


def data_table(title: str, records: Sequence[Record]) -> TextTable:
    """Every column of records, at least one, but those that say in words what others say in numbers."""
    return table_of(title, records, [column for column in records[0] if column != _INTERVAL])


def table_of(
    title: str, records: Sequence[Record], columns: Sequence[str], *, numbers_from: int = 2, note: str = ""
) -> TextTable:
    """Some columns of records as a table."""
    rows = tuple(tuple(record[column] for column in columns) for record in records)
    return TextTable(title, tuple(columns), rows, numbers_from, note)


def _titled(entry: RegionRanking) -> str:
    return f"{entry.region}, {find_metric(entry.metric).titled(entry.distance_unit)}"


def _change(result: PairedComparison, metric: str) -> Record:
    number = find_metric(metric).shown
    low, high = (number(bound, "+") for bound in result.interval)
    return {
        "cases": str(result.n_cases),
        "patients": str(result.n_patients),
        "mean A": number(result.mean_a),
        "mean B": number(result.mean_b),
        "B - A": number(result.mean_difference, "+"),
        "low": low,
        "high": high,
        _INTERVAL: "-" if math.isnan(result.interval[0]) else f"{low} to {high}",
    }


def _outcomes(result: PairedComparison, metric: str) -> Record:
    counts = ",\n".join(f"> {row.threshold:g}: {row.wins}/{row.ties}/{row.losses}" for row in result.outcomes)
    worst, best = (
        f"{case.case_id} {find_metric(metric).shown(case.difference, '+')}" if case else "-"
        for case in (result.worst, result.best)
    )
    return dict(zip(_OUTCOMES, (counts, worst, best), strict=True))


def _standing(standing: Standing, metric: str) -> Record:
    return {
        "run": standing.run,
        "rank": _shown(standing.rank, "g"),
        "low": _shown(standing.interval[0], "g"),
        "high": _shown(standing.interval[1], "g"),
        _INTERVAL: _interval(standing.interval, "g"),
        "first": _shown(standing.first, ".0%"),
        "mean rank": _shown(standing.mean_rank, ".2f"),
        "mean score": find_metric(metric).shown(standing.mean_score),
        "beaten": str(standing.beaten),
        "missed": str(len(standing.missed)),
    }


def _ranking_notes(entry: RegionRanking) -> list[str]:
    ranking, tests = entry.ranking, entry.ranking.tests
    clustered = ranking.n_patients != ranking.n_cases
    tau = f"{_shown(ranking.tau, '.2f')} ({_interval(ranking.tau_interval, '.2f')})"
    drawn = "patients" if clustered else "cases"
    of_patients = f" of {ranking.n_patients} patients" if clustered else ""
    known = ranking.n_cases + len(ranking.unranked)
    return [
        f"Ranked: {ranking.n_cases} of {known} cases{of_patients}. By {ranking.scheme}: {_WORDS[ranking.scheme]}.",
        f"Bootstrap of {ranking.resamples:,} samples of {drawn}: interval of the rank, share of samples with rank 1 "
        f"(first), Kendall's tau to this ranking {tau}.",
        "Beaten: runs that are worse by Wilcoxon's signed-rank test, one-sided, at 0.05 by Holm.",
        "Missed: cases without a result, which have the worst rank and the worst score.",
        f"Friedman's test over {tests.n_blocks} {drawn}: chi-square {_shown(tests.friedman_statistic, '.2f')}, "
        f"p {_p_value(tests.friedman_p)}. Nemenyi's critical difference of mean ranks over {drawn}: "
        f"{_shown(tests.critical_difference, '.2f')}.",
    ]


def _interval(bounds: tuple[float, float], form: str) -> str:
    return "-" if math.isnan(bounds[0]) else f"{bounds[0]:{form}} to {bounds[1]:{form}}"


def _shown(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"


def _p_value(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
