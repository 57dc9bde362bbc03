"""`rankseg-med train`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from rankseg_med.cli.console import advance, progress_bar, say
from rankseg_med.studies import find_studies
from rankseg_med.workflows.config import Device, load_config
from rankseg_med.workflows.train import TrainingProgress, split_studies, train

log = logging.getLogger(__name__)


def train_command(
    config: Annotated[str, typer.Option(help="Config file (trusted: it may hold code) or shipped name.")],
    manifest: Annotated[Path, typer.Option(help="Data list (.json), as `rankseg-med manifest` writes.")],
    output_dir: Annotated[Path, typer.Option("--output", help="Folder of checkpoints and TensorBoard scalars.")],
    fold: Annotated[int, typer.Option(help="Fold held out for validation; -1 trains on everything.")] = 0,
    labelled: Annotated[int | None, typer.Option(help="Train on only so many studies, chosen by the seed.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, sampling, augmentation and the choice of studies.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="In place of the config's.")] = None,
    device: Annotated[Device, typer.Option(help="Where to train.")] = "auto",
    data_root: Annotated[Path | None, typer.Option(help="What the data list's paths are relative to.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from last.pt in the output folder.")] = False,
) -> None:
    """Train a network with the config's loss and optimizer; writes last.pt, best.pt and TensorBoard scalars."""
    settings = load_config("train", config, device=device)
    if epochs is not None:
        settings["epochs"] = epochs
    studies = find_studies(manifest, data_root=data_root)
    held_out = None if fold < 0 else fold
    training, validation = split_studies(studies, fold=held_out, labelled=labelled, seed=seed)
    log.info("training on %d studies, validating on %d", len(training), len(validation))

    with progress_bar("training", int(settings["epochs"])) as bar:

        def on_epoch(progress: TrainingProgress) -> None:
            dice = "" if progress.validation_dice is None else f", validation Dice {progress.validation_dice:.4f}"
            log.info("epoch %d of %d: loss %.4f%s", progress.epoch, progress.epochs, progress.loss, dice)
            advance(bar)

        train(settings, training, validation, output_dir, seed=seed, resume=resume, on_epoch=on_epoch)
    say(f"trained into {output_dir}")
