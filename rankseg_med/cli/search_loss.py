"""`rankseg-med search-loss`."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from rankseg_med.cli.console import advance, move_to, output, progress_bar, say
from rankseg_med.cli.interrupts import INTERRUPTED, stopped_by_signals
from rankseg_med.cli.job_options import JobOptions, with_job_options
from rankseg_med.cli.options import ConfigsOption, DataRootOption, JobDeviceOption, SetOption, parse_changes

if TYPE_CHECKING:
    from rankseg_med.loss_search import LossSearch, Trial

_log = logging.getLogger(__name__)


@with_job_options("overwrite", "retries", "dry_run", "report", "fail_fast", "study_timeout", "shard", "memory_gb")
def search_loss_command(
    config: ConfigsOption,
    manifest: Annotated[Path, typer.Option(help="Data list (.json), as `rankseg-med manifest` writes.")],
    output_dir: Annotated[Path, typer.Option("--output", "-o", help="Folder of search.json and loss.yaml.")],
    options: JobOptions,
    fold: Annotated[
        int, typer.Option(help="Fold that is left alone, since trainings validate on it; -1 leaves none alone.")
    ] = 0,
    held_out: Annotated[int, typer.Option(help="Fold that is not trained on, but scored: it chooses the loss.")] = 1,
    strategy: Annotated[
        Literal["ppo2", "random"], typer.Option(help="How losses are chosen: as published, or at random.")
    ] = "ppo2",
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.")] = 20,
    samples: Annotated[int, typer.Option(min=2, help="Number of losses that are tried in each step.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the losses, and of every training alike.")] = 0,
    changes: SetOption = None,
    device: JobDeviceOption = "auto",
    data_root: DataRootOption = None,
) -> None:
    """Search the loss with which a small, short training reaches most in the metric (Auto Seg-Loss).

    The config's loss is a rankseg_med.losses.SurrogateLoss, which names the metric. Use what is found over the config
    of a training: `train --config lits --config found/loss.yaml`.

    Ctrl-C or SIGTERM finishes the trainings under way; the same command goes on. A second one stops at once.
    """
    from rankseg_med.configuration import load_config
    from rankseg_med.loss_search import LOSS, SearchSettings, search_loss
    from rankseg_med.studies import find_studies
    from rankseg_med.training import split_studies

    if fold == held_out:
        raise typer.BadParameter(f"--held-out must be another fold than --fold, got {fold} twice")
    proxy = load_config("train", config, device=device, changes=parse_changes(changes))
    others, _ = split_studies(find_studies(manifest, data_root=data_root), fold=None if fold < 0 else fold)
    training, scored = split_studies(others, fold=held_out)
    _log.info("training on %d studies, scoring on %d", len(training), len(scored))

    # A training that diverges is on record.
    logging.getLogger("ignite").addHandler(logging.NullHandler())
    stop = Event()
    with stopped_by_signals(stop), progress_bar("losses", steps * samples) as bar:

        def on_trial(step: int, index: int, trial: Trial) -> None:
            reason = f" ({trial.reason})" if trial.reason else ""
            _log.info("step %d of %d, loss %d of %d: %.4f%s", step, steps, index + 1, samples, trial.score, reason)
            advance(bar)

        search = search_loss(
            proxy,
            training,
            scored,
            output_dir,
            SearchSettings(strategy=strategy, steps=steps, samples=samples, seed=seed),
            executor=options.executor_to_use(),
            choice={"manifest": str(manifest), "fold": fold, "held-out": held_out},
            stop=stop,
            on_start=lambda tried: move_to(bar, tried),
            on_trial=on_trial,
        )
    if search is None:
        say("stopped; run the same command again to go on")
        raise typer.Exit(INTERRUPTED)
    output.print(_table(search))
    say(f"{output_dir / LOSS}: {search.loss['metric']} {search.score:.4f} on the proxy task")


def _table(search: LossSearch) -> Table:
    table = Table(title=f"{search.loss['metric']} of the losses that were tried")
    for heading in ("step", "mean", "best", "diverged"):
        table.add_column(heading, justify="right")
    for number, step in enumerate(search.steps, start=1):
        diverged = sum(bool(trial.reason) for trial in step.trials.values())
        table.add_row(str(number), f"{step.mean_score:.4f}", f"{max(step.scores):.4f}", str(diverged))
    return table
