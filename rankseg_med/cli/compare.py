"""`rankseg-med compare`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rankseg_med.cli.console import complain, output
from rankseg_med.cli.options import PatientsOption

if TYPE_CHECKING:
    from rankseg_med.evaluation import RegionComparison


def compare_command(
    run_a: Annotated[Path, typer.Argument(help="Folder that `evaluate --output` wrote: the run compared with.")],
    run_b: Annotated[Path, typer.Argument(help="The same of the run in question.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric, a column of scores.csv; repeatable. Default: dice.")
    ] = None,
    patients: PatientsOption = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Smallest change that is a win or a loss; repeatable. Default: 0 and 0.01, for mm 0 and 1."),
    ] = None,
    output_file: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file for the results.")] = None,
) -> None:
    """Compare two evaluations of the same cases: mean difference with bootstrap interval, tests, wins and losses.

    Exit code 1 if cases are missing from one run.
    """
    from rankseg_med.evaluation import compare

    comparisons = compare(
        run_a, run_b, metric or ("dice",), patients=patients, thresholds=threshold, output=output_file
    )
    output.print(_table(comparisons))
    for comparison in comparisons:
        unpaired = comparison.result.unpaired
        if unpaired:
            named = ", ".join(f"{case_id} ({reason})" for case_id, reason in unpaired.items())
            complain(f"not compared, {comparison.region} {comparison.metric}: {len(unpaired)} cases: {named}")
    if any(comparison.missing for comparison in comparisons):
        raise typer.Exit(1)


def _table(comparisons: Sequence[RegionComparison]) -> Table:
    table = Table(
        title="From run A to run B",
        caption="Differences are B less A. Wilcoxon signed-rank and sign test: two-sided p values, not corrected for "
        "the number of rows.",
        show_lines=True,
    )
    for heading in ("region", "metric"):
        table.add_column(heading)
    confidence = comparisons[0].result.confidence
    for heading in ("cases\npatients", "A\nB", f"B - A\n{confidence:.0%} interval", "Wilcoxon p\nsign test p"):
        table.add_column(heading, justify="right")
    for heading in ("wins/ties/losses\nby change", "worst case\nbest case"):
        table.add_column(heading)
    for comparison in comparisons:
        table.add_row(escape(comparison.region), comparison.metric, *_cells(comparison))
    return table


def _cells(comparison: RegionComparison) -> list[str]:
    from rankseg_med.metrics import find_metric

    result = comparison.result
    number = find_metric(comparison.metric).shown
    low, high = (number(bound, "+") for bound in result.interval)
    extremes = [
        f"{escape(case.case_id)} {number(case.difference, '+')}"
        for case in (result.worst, result.best)
        if case is not None
    ]
    return [
        f"{result.n_cases}\n{result.n_patients}",
        f"{number(result.mean_a)}\n{number(result.mean_b)}",
        f"{number(result.mean_difference, '+')}\n{low} to {high}",
        f"{_p_value(result.wilcoxon_p)}\n{_p_value(result.sign_test_p)}",
        "\n".join(f"> {row.threshold:g}: {row.wins}/{row.ties}/{row.losses}" for row in result.outcomes),
        "\n".join(extremes) or "-",
    ]


def _p_value(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
