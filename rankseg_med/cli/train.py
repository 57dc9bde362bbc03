"""`rankseg-med train`."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from rankseg_med.cli.console import advance, progress_bar, say
from rankseg_med.cli.interrupts import INTERRUPTED, stopped_by_signals
from rankseg_med.cli.options import ConfigsOption, DataRootOption, DeviceOption, SetOption, parse_changes

if TYPE_CHECKING:
    from rankseg_med.studies import Study
    from rankseg_med.training import TrainingProgress

_log = logging.getLogger(__name__)


def train_command(
    config: ConfigsOption,
    manifest: Annotated[Path, typer.Option(help="Data list (.json), as `rankseg-med manifest` writes.")],
    output_dir: Annotated[Path, typer.Option("--output", "-o", help="Folder of checkpoints and TensorBoard scalars.")],
    fold: Annotated[int, typer.Option(help="Fold held out for validation; -1 trains on everything.")] = 0,
    labelled: Annotated[
        str | None,
        typer.Option(help="Labels to train on: how many studies, chosen by the seed, or case ids with commas between."),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="Further images without labels, for configs with a method: a folder or a data list."),
    ] = None,
    pseudo_labels: Annotated[
        Path | None, typer.Option(help="Data list of pseudo-labels to train on as well, as pseudo-label writes it.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights to start from in place of random ones, such as a pre-training's last.pt."),
    ] = None,
    new_layers: Annotated[
        bool,
        typer.Option("--new-layers", help="Layers of --weights that do not fit start anew; else they are refused."),
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of weights, sampling, augmentation and the choice of studies.")
    ] = 0,
    changes: SetOption = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="In place of the config's.")] = None,
    device: DeviceOption = "auto",
    data_root: DataRootOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from last.pt in the output folder.")] = False,
) -> None:
    """Train a network with the config's loss and optimizer; writes last.pt, best.pt and TensorBoard scalars.

    A config with a semi-supervised method (bcp_hippocampus, mean_teacher_hippocampus) trains on all images of the data
    list's training studies outside the fold, but looks at the labels of the --labelled ones only. The data list's test
    images are left alone.

    Ctrl-C or SIGTERM saves last.pt after the iteration under way and prints the line to go on with; a second one stops
    at once.
    """
    from rankseg_med.configuration import load_config
    from rankseg_med.networks import shipped_checkpoint
    from rankseg_med.studies import find_studies
    from rankseg_med.training import (
        StartingWeights,
        further_studies,
        is_first_process,
        split_studies,
        train,
        unlabelled_studies,
        without_labels,
    )

    if new_layers and weights is None:
        raise typer.BadParameter("--new-layers means nothing without --weights")
    start = None
    if weights is not None:
        start = StartingWeights(shipped_checkpoint(str(weights)) or weights, new_layers)
    settings = load_config("train", config, device=device, changes=parse_changes(changes))
    if epochs is not None:
        settings["epochs"] = epochs
    studies = find_studies(manifest, data_root=data_root)
    held_out = None if fold < 0 else fold
    chosen = None if labelled is None else _number_or_ids(labelled)
    training, validation = split_studies(studies, fold=held_out, labelled=chosen, seed=seed)
    test = [study for study in studies if study.label is None]

    def further(listed: list[Study], what: str) -> list[Study]:
        added = further_studies(listed, (*training, *rest, *validation, *test))
        if is_first_process():
            left = len(listed) - len(added)
            _log.info("%d %s; %d more are trained on already, validate, or are test images", len(added), what, left)
        return added

    rest: list[Study] = []
    if pseudo_labels is not None:
        listed = [study for study in find_studies(pseudo_labels) if study.label is not None]
        training += further(listed, "studies with pseudo-labels")
    if "method" in settings:
        rest = unlabelled_studies(studies, training, validation)
    if unlabelled is not None:
        rest += without_labels(further(find_studies(unlabelled), "further studies without labels"))
    counts = len(training), len(rest), len(validation)
    if is_first_process():
        _log.info("training on %d labelled and %d unlabelled studies, validating on %d", *counts)

    # Ignite says what exception ends a training, and so does this program.
    logging.getLogger("ignite").addHandler(logging.NullHandler())
    stop, started = Event(), Event()
    with stopped_by_signals(stop, in_hand=started), progress_bar("training", int(settings["epochs"])) as bar:

        def on_epoch(progress: TrainingProgress) -> None:
            dice = "" if progress.validation_dice is None else f", validation Dice {progress.validation_dice:.4f}"
            _log.info("epoch %d of %d: loss %.4f%s", progress.epoch, progress.epochs, progress.loss, dice)
            advance(bar)

        is_complete = train(
            settings,
            training,
            validation,
            output_dir,
            unlabelled=rest,
            seed=seed,
            choice={
                "manifest": str(manifest),
                "data-root": None if data_root is None else str(data_root),
                "fold": held_out,
                "labelled": labelled,
                "unlabelled": None if unlabelled is None else str(unlabelled),
                "pseudo-labels": None if pseudo_labels is None else str(pseudo_labels),
            },
            weights=start,
            resume=resume,
            stop=stop,
            on_start=started.set,
            on_epoch=on_epoch,
        )
    if is_first_process():
        say(f"trained into {output_dir}" if is_complete else f"stopped; go on with:\n{_line_to_resume_with()}")
    if not is_complete:
        raise typer.Exit(INTERRUPTED)


def _line_to_resume_with() -> str:
    """The command that was given, with ``--resume``."""
    import torch

    if torch.distributed.is_torchelastic_launched():
        nodes, processes = os.environ["GROUP_WORLD_SIZE"], os.environ["LOCAL_WORLD_SIZE"]
        where = ["--standalone"] if nodes == "1" else ["--nnodes", nodes]
        launcher = ["torchrun", *where, "--nproc_per_node", processes, "-m", "rankseg_med"]
    elif Path(sys.argv[0]).name == "__main__.py":
        launcher = [sys.executable, "-m", "rankseg_med"]
    else:
        launcher = [sys.argv[0]]
    arguments = sys.argv[1:]
    return shlex.join([*launcher, *arguments, *([] if "--resume" in arguments else ["--resume"])])


def _number_or_ids(text: str) -> int | list[str]:
    return int(text) if text.isdigit() else [case_id.strip() for case_id in text.split(",")]
