"""What a comparison says, as a report and as files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankseg_med.evaluation.comparison.compare import RegionComparison
from rankseg_med.evaluation.comparison.run_ranking import RunRanking
from rankseg_med.evaluation.comparison.tables import (
    change_table,
    consensus_table,
    data_table,
    outcome_table,
    pair_records,
    pairs_records,
    pairs_table,
    ranking_table,
    standing_records,
)
from rankseg_med.metrics import FEW_BLOCKS, find_metric
from rankseg_med.report import Document, TextTable, as_csv, as_latex, as_markdown
from rankseg_med.studies import atomic_folder


@dataclass(frozen=True)
class ComparisonReport:
    """Tables of a comparison.

    Attributes:
        document: Everything in words.
        data: Name of a CSV file to its table.
    """

    document: Document
    data: Mapping[str, TextTable]

    def write(self, folder: Path) -> None:
        """Write ``comparison.md``, ``comparison.tex`` and the CSV files into a new folder, all or none.

        Raises:
            FileExistsError: Something is there.
            OSError: It cannot be written.
        """
        with atomic_folder(folder) as unfinished:
            files = {
                "comparison.md": as_markdown(self.document, unfinished),
                "comparison.tex": as_latex(self.document.tables),
                **{name: as_csv(table) for name, table in self.data.items()},
            }
            for name, text in files.items():
                (unfinished / name).write_text(text, encoding="utf-8")


def report_pair(comparisons: Sequence[RegionComparison], name_a: str, name_b: str) -> ComparisonReport:
    """The report of two runs.

    Args:
        comparisons: What `compare` found, at least one region and metric.
        name_a: Name of the run compared with.
        name_b: Name of the run in question.
    """
    records = pair_records(comparisons, name_a, name_b)
    tables = (
        change_table(records, name_a, name_b, distance_unit=comparisons[0].distance_unit),
        outcome_table("Cases that gain and lose", ("region", "metric"), records),
    )
    notes = tuple(
        f"not compared, {comparison.region} {comparison.metric}: {_named(comparison.result.unpaired)}"
        for comparison in comparisons
        if comparison.result.unpaired
    )
    document = Document("Two runs compared", _pair_verdict(comparisons, name_a, name_b), tables, notes=notes)
    return ComparisonReport(document, {"pairs.csv": data_table("Pairs", records)})


def report_ranking(found: RunRanking) -> ComparisonReport:
    """The report of three runs or more."""
    tables: list[TextTable] = []
    standings, pairs = [], []
    for entry in found.rankings:
        of_runs, of_pairs = standing_records(entry), pairs_records(entry)
        title = f"Cases that gain and lose: {entry.region}, {find_metric(entry.metric).heading}"
        tables += [
            ranking_table(entry, of_runs),
            pairs_table(entry, of_pairs),
            outcome_table(title, ("A", "B"), of_pairs),
        ]
        standings += of_runs
        pairs += of_pairs
    if found.consensus:
        tables.append(consensus_table(found.consensus, found.rankings))
    document = Document(
        f"{len(found.runs)} runs ranked", _ranking_verdict(found), tuple(tables), notes=tuple(_ranking_notes(found))
    )
    data = {"ranking.csv": data_table("Ranking", standings), "pairs.csv": data_table("Pairs", pairs)}
    return ComparisonReport(document, data)


def _pair_verdict(comparisons: Sequence[RegionComparison], name_a: str, name_b: str) -> str:
    better = worse = 0
    for comparison in comparisons:
        low, high = comparison.result.interval
        gains, losses = (low > 0, high < 0) if find_metric(comparison.metric).higher_is_better else (high < 0, low > 0)
        better, worse = better + gains, worse + losses
    return (
        f"{name_b} is better than {name_a} in {better} and worse in {worse} of {len(comparisons)} rows: in those the "
        "interval of the change lies on one side of 0."
    )


def _ranking_verdict(found: RunRanking) -> str:
    ranked = [entry for entry in found.rankings if entry.ranking.n_cases]
    if not ranked:
        return "No case has a score in every run, so that nothing is ranked."
    if found.consensus:
        first = [standing.run for standing in found.consensus if standing.rank == 1]
        return f"First by the mean of the ranks in {len(ranked)} regions and metrics: {' and '.join(first)}."
    (entry,) = ranked
    leaders = [
        f"{standing.run} (in {standing.first:.0%} of the samples)"
        for standing in entry.ranking.standings
        if standing.rank == 1
    ]
    return f"First by {entry.metric} of {entry.region}, {entry.ranking.scheme}: {' and '.join(leaders)}."


def _ranking_notes(found: RunRanking) -> Iterator[str]:
    places = defaultdict[tuple[str, tuple[str, ...]], list[str]](list)
    for entry in found.rankings:
        for standing in entry.ranking.standings:
            if standing.missed:
                places[standing.run, standing.missed].append(f"{entry.region} {entry.metric}")
    for (run, missed), where in places.items():
        yield f"no score in {run}, so ranked worst and in no change, {', '.join(where)}: {_listed(missed)}"
    for entry in found.rankings:
        if entry.ranking.unranked:
            yield f"not ranked, {entry.region} {entry.metric}: {_named(entry.ranking.unranked)}"
    fewest = min((entry.ranking.tests for entry in found.rankings), key=lambda tests: tests.n_blocks)
    if fewest.is_rough:
        yield (
            f"few to test: only {fewest.n_blocks} cases or patients; below {FEW_BLOCKS}, p values of Friedman's and "
            "Nemenyi's tests are rough, and only large differences can be found"
        )


def _named(reasons: Mapping[str, str]) -> str:
    return _listed([f"{case_id} ({reason})" for case_id, reason in reasons.items()])


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} {'case' if len(names) == 1 else 'cases'}: {', '.join(names)}"
