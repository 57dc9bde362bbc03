"""`rankseg-med cleanup-search`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rankseg_med.cli.console import output, say
from rankseg_med.cli.options import DataRootOption, FoldOption, parse_labels

if TYPE_CHECKING:
    from rankseg_med.evaluation import CleanupSearch


def cleanup_search_command(
    predictions: Annotated[Path, typer.Argument(help="Folder of label maps of validation cases, without cleanup.")],
    references: Annotated[
        Path, typer.Argument(help="Folder of reference label maps, a pattern in quotes, or a data list's labels.")
    ],
    output_file: Annotated[
        Path,
        typer.Option("--output", "-o", help="Overlay to write, which has the cleanup alone; a further --config."),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            help="Classes to clean up, as in 1=liver,2=tumour. Default: as evaluate finds them, else all labels of the "
            "references."
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(help="Config, file (trusted) or shipped, that names the classes; instead of --labels."),
    ] = None,
    minimum_ml: Annotated[
        list[float] | None,
        typer.Option(
            min=0, help="Smallest volume of a component to try; repeatable. Default: 0.03, 0.1, 0.5, 2 and 10."
        ),
    ] = None,
    least_gain: Annotated[
        float,
        typer.Option(min=0, max=1, help="Rise of the mean Dice below which a step is rejected; at 0 any rise will do."),
    ] = 0.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that clean and score; each holds one case.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the overlay if it is there.")] = False,
    fold: FoldOption = None,
    data_root: DataRootOption = None,
) -> None:
    """Choose the cleanup steps that raise the mean Dice on validation cases and lower no class, as nnU-Net does.

    Use what it writes over the config of the job: `predict --config lits --config cleaned.yaml`.
    """
    from rankseg_med.configuration import find_config, load_config
    from rankseg_med.evaluation import MINIMUM_VOLUMES_ML, search_cleanup, write_cleanup
    from rankseg_med.studies import check_new_file

    if labels is not None and config:
        raise typer.BadParameter("--labels and --config both name the classes; give one of them")
    if output_file.resolve() in [find_config(one).resolve() for one in config or []]:
        raise typer.BadParameter(f"--output {output_file} is the config itself; only its cleanup would be left")
    if not overwrite:
        check_new_file(output_file)
    names = None if labels is None else parse_labels(labels)
    if config:
        classes = enumerate(load_config("inference", config, device="cpu")["label_names"])
        names = {label: name for label, name in classes if label}
    search = search_cleanup(
        predictions,
        references,
        names,
        data_root=data_root,
        fold=fold,
        minimum_volumes_ml=minimum_ml or MINIMUM_VOLUMES_ML,
        least_gain=least_gain,
        workers=workers,
    )
    write_cleanup(search, output_file)
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
