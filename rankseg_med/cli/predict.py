"""`rankseg-med predict`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from rankseg_med.cli.console import advance, progress_bar, say
from rankseg_med.executors import Outcome
from rankseg_med.networks import shipped_checkpoint
from rankseg_med.studies import Study, find_studies
from rankseg_med.workflows.config import Device, load_config
from rankseg_med.workflows.predict import Prediction, predict

log = logging.getLogger(__name__)


def predict_command(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="NIfTI file, folder of them, or data list (.json).")],
    config: Annotated[str, typer.Option(help="Config file (trusted: it may hold code) or shipped name, such as demo.")],
    checkpoint: Annotated[
        list[str],
        typer.Option(help="Weights: .safetensors, .pt, or a shipped name, such as demo; several are an ensemble."),
    ],
    output_dir: Annotated[Path, typer.Option("--output", help="Folder of the label maps.")],
    decoder: Annotated[
        Literal["dice", "iou", "argmax"] | None,
        typer.Option(help="Metric to decode for, or argmax. Default: what the config says, which is dice."),
    ] = None,
    grid: Annotated[
        Literal["native", "model"] | None,
        typer.Option(help="Decode on the image's grid, or on the preprocessed image's: faster, coarser."),
    ] = None,
    ensemble: Annotated[
        Literal["mean", "decode"] | None,
        typer.Option(help="Of several checkpoints: decode their mean, or for the mean expected score over them."),
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Mean over flips of every axis: eight times the network.")] = False,
    store: Annotated[
        Literal["memory", "disk"] | None, typer.Option(help="Where probabilities wait to be decoded.")
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option(min=0, help="Load the next study only if all under way fit into so much memory.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the network runs.")] = "auto",
    fold: Annotated[int | None, typer.Option(help="Only this fold's held-out studies of a data list.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="What a data list's paths are relative to.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace label maps that are there.")] = False,
) -> None:
    """Predict label maps: one NIfTI file per study, on the study's own grid.

    Exit code 0 only if every study succeeded; a study that fails is reported and the others go on.
    """
    studies = find_studies(source, data_root=data_root, fold=fold)
    settings = load_config("inference", config, device=device)
    if decoder == "argmax":
        # The config's options are RankSEG's.
        settings["decoder"] = {"_target_": "rankseg_med.decode.make_decoder", "name": decoder}
    elif decoder is not None:
        settings["decoder::name"] = decoder
    for name, value in {"grid": grid, "ensemble": ensemble, "store": store}.items():
        if value is not None:
            settings[name] = value
    if tta:
        settings["inferer::flip_axes"] = "all"
    checkpoints = [shipped_checkpoint(name) or Path(name) for name in checkpoint]
    prediction = Prediction.from_config(settings, checkpoints, output_dir)
    memory_budget = None if memory_gb is None else int(memory_gb * 1e9)
    outcomes = predict_with_progress(studies, prediction, overwrite=overwrite, memory_budget=memory_budget)
    if report_outcomes(outcomes, output_dir):
        raise typer.Exit(1)


def predict_with_progress(
    studies: Sequence[Study], prediction: Prediction, *, overwrite: bool, memory_budget: int | None = None
) -> list[Outcome[Study, Path]]:
    """Run the prediction with a bar on a terminal and a line per study in a log."""
    outcomes = []
    with progress_bar("predicting", len(studies)) as bar:
        for outcome in predict(studies, prediction, overwrite=overwrite, memory_budget=memory_budget):
            outcomes.append(outcome)
            if outcome.error is None:
                log.info("%s: done in %.1f s", outcome.item.case_id, outcome.seconds)
            else:
                log.error("%s: failed: %s", outcome.item.case_id, outcome.error)
            advance(bar)
    return outcomes


def report_outcomes(outcomes: Sequence[Outcome[Study, Path]], folder: Path) -> int:
    """Print the summary; returns the number of failures."""
    failures = [outcome for outcome in outcomes if outcome.error is not None]
    say(f"{len(outcomes) - len(failures)} of {len(outcomes)} studies predicted into {folder}")
    for outcome in failures:
        say(f"failed: {outcome.item.case_id}: {outcome.error}")
    return len(failures)
