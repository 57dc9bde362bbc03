"""`rankseg-med report`, and the same at the end of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankseg_med.cli.console import advance, progress_bar, say


def report_command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Output folder of predict, decode, pseudo-label, evaluate or ab.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Page to write, *.html. Default: report.html in the folder (BIDS: logs)."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Output folder of evaluate, whose scores and references are shown too.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder or data list of the images, where they are not where they were read from."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Folder of other label maps, such as argmax's, to show where they disagree most. Default: argmax's of "
            "stored probabilities, of the worst and the least certain studies."
        ),
    ] = None,
    volumes: Annotated[
        bool, typer.Option("--volumes/--no-volumes", help="Put a 3-D view of every study into the report.")
    ] = True,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for figures for papers: box plots, risk-coverage and more, PNG and PDF.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read and draw studies.")] = 1,
) -> None:
    """Write a page about a run: every study with its pictures, scores and failures, from what is on disk.

    It opens from disk, without network or server. Of many studies, pictures and 3-D views lie in a folder beside the
    page, which belongs to it.
    """
    from rankseg_med.evaluation import write_report

    if output is not None and output.suffix.lower() != ".html":
        raise typer.BadParameter(f"--output {output}: must be named *.html")
    with progress_bar("studies", None) as bar:
        report = write_report(
            folder,
            output,
            scores=scores,
            images=images,
            against=against,
            with_volumes=volumes,
            figures=figures,
            workers=workers,
            on_study=lambda: advance(bar),
        )
    say(f"{report.studies} studies in {report.page}")
    if report.undrawn:
        say(f"{report.undrawn} studies have a label map and no picture; the report says why")
    for path in report.figures:
        say(f"figure: {path}")


def report_at_the_end(folder: Path) -> None:
    """Write the page of a run that has just ended into its folder, and say where it is."""
    from rankseg_med.evaluation import write_report

    say(f"report: {write_report(folder).page}")
