"""`rankseg-med compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rankseg_med.cli.console import complain, output, say
from rankseg_med.cli.options import PatientsOption, wrong_options


def compare_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN [RUN]...",
            help="Folders that `evaluate --output` wrote. Of two, the first is the one compared with.",
        ),
    ],
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric, a column of scores.csv; repeatable. Default: dice.")
    ] = None,
    patients: PatientsOption = None,
    ranking: Annotated[
        Literal["rank-then-mean", "mean-then-rank", "significance"] | None,
        typer.Option(
            help="What three runs or more are ordered by: mean of their ranks in each case (the default), mean score, "
            "or number of runs significantly beaten."
        ),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Smallest change that is a win or a loss; repeatable. Default: 0 and 0.01, for mm 0 and 1."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Name of a run, one for each in turn. Default: its folder's.")
    ] = None,
    output_file: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file for the results.")] = None,
    tables: Annotated[
        Path | None, typer.Option(help="New folder for the tables as Markdown, LaTeX and CSV.", metavar="FOLDER")
    ] = None,
) -> None:
    """Compare evaluations of the same cases: mean difference with bootstrap interval, tests, wins and losses.

    Three runs or more are ranked as well, with the ranking's stability. Exit code 1 if cases are missing from a run.
    """
    from rankseg_med.evaluation import compare, compare_runs, name_runs, report_pair, report_ranking
    from rankseg_med.report import as_terminal
    from rankseg_med.studies import check_new_folder

    if len(runs) < 2:
        raise typer.BadParameter("a comparison needs two runs or more, got one")
    if len(runs) == 2 and ranking:
        raise typer.BadParameter("--ranking means nothing with two runs")
    with wrong_options():
        names = name_runs(runs, name or ())
    if tables is not None:
        check_new_folder(tables)
    metrics = metric or ("dice",)
    if len(runs) == 2:
        run_a, run_b = runs
        comparisons = compare(run_a, run_b, metrics, patients=patients, thresholds=threshold, output=output_file)
        report = report_pair(comparisons, names[0], names[1])
        is_missing = any(comparison.missing for comparison in comparisons)
    else:
        found = compare_runs(
            dict(zip(names, runs, strict=True)),
            metrics,
            scheme=ranking or "rank-then-mean",
            patients=patients,
            thresholds=threshold,
            output=output_file,
        )
        report = report_ranking(found)
        is_missing = any(found.missing.values())
    for table in report.document.tables:
        output.print(as_terminal(table))
    for note in report.document.notes:
        complain(note)
    say(report.document.verdict)
    if tables is not None:
        report.write(tables)
    if is_missing:
        raise typer.Exit(1)
