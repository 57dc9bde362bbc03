"""`rankseg-med cleanup-search`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rankseg_med.cli.console import output, say
from rankseg_med.cli.options import DataRootOption, FoldOption

if TYPE_CHECKING:
    from rankseg_med.evaluation import CleanupSearch


def cleanup_search_command(
    predictions: Annotated[Path, typer.Argument(help="Folder of label maps of validation cases, without cleanup.")],
    references: Annotated[
        Path, typer.Argument(help="Folder of reference label maps, a pattern in quotes, or a data list's labels.")
    ],
    config: Annotated[
        str,
        typer.Option(help="Config that the predictions were made with: a file (trusted) or a shipped config's name."),
    ],
    output_file: Annotated[Path, typer.Option("--output", "-o", help="Config overlay to write, with the cleanup.")],
    minimum_ml: Annotated[
        list[float] | None,
        typer.Option(
            min=0, help="Smallest volume of a component to try; repeatable. Default: 0.03, 0.1, 0.5, 2 and 10."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that clean and score; each holds one case.")] = 1,
    fold: FoldOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Choose the cleanup steps that raise the mean Dice on validation cases and lower no class, as nnU-Net does."""
    from rankseg_med.evaluation import MINIMUM_VOLUMES_ML, search_cleanup

    search = search_cleanup(
        predictions,
        references,
        config,
        output_file,
        data_root=data_root,
        fold=fold,
        minimum_volumes_ml=minimum_ml or MINIMUM_VOLUMES_ML,
        workers=workers,
    )
    output.print(_table(search))
    accepted = [trial.step.description for trial in search.trials if trial.accepted]
    say(f"{output_file}: {', then '.join(accepted) or 'no cleanup, since no step helped'}")


def _table(search: CleanupSearch) -> Table:
    table = Table(
        title="Mean Dice before and after each step",
        caption=f"{search.n_cases} cases. Each step is on top of those accepted above it.",
    )
    table.add_column("step")
    for name in (*search.labels.values(), "mean"):
        table.add_column(escape(name), justify="right")
    table.add_column("accepted")
    for trial in search.trials:
        changes = [_change(trial.before[label], trial.after[label]) for label in search.labels]
        table.add_row(
            escape(trial.step.description),
            *changes,
            _change(trial.mean_before, trial.mean_after),
            "yes" if trial.accepted else "no",
        )
    return table


def _change(before: float, after: float) -> str:
    return " to ".join("-" if math.isnan(value) else f"{value:.4f}" for value in (before, after))
