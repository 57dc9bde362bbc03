"""`rankseg-med evaluate`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from rankseg_med.cli.console import complain, output
from rankseg_med.cli.options import parse_labels
from rankseg_med.report.tables import evaluation_table
from rankseg_med.workflows.evaluate import evaluate

log = logging.getLogger(__name__)


def evaluate_command(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted label maps, or one file.")],
    references: Annotated[Path, typer.Argument(help="Folder of reference label maps, one file, or a data list.")],
    labels: Annotated[str, typer.Option(help="Classes to score, as in 1=anterior,2=posterior.")],
    output_dir: Annotated[Path | None, typer.Option("--output", help="Folder for scores.csv and summary.json.")] = None,
    fold: Annotated[int | None, typer.Option(help="Only this fold's held-out cases of a data list.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="What a data list's paths are relative to.")] = None,
) -> None:
    """Score label maps: Dice, Jaccard, Hausdorff distances and average surface distances (mm) per case and class.

    Exit code 0 only if every case on either side was scored.
    """
    result = evaluate(
        predictions,
        references,
        parse_labels(labels),
        output=output_dir,
        data_root=data_root,
        fold=fold,
        on_case=lambda case_id: log.debug("scoring %s", case_id),
    )
    for warning in result.warnings:
        complain(f"warning: {warning}")
    output.print(evaluation_table(result))
    for case_id, reason in result.failures.items():
        complain(f"failed: {case_id}: {reason}")
    if result.failures:
        raise typer.Exit(1)
