"""`rankseg-med tune`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import typer

from rankseg_med.cli.console import advance, complain, output, progress_bar, say
from rankseg_med.cli.options import (
    AxesOption,
    DataRootOption,
    FoldOption,
    PatientsOption,
    RegionChannelsOption,
    known_device,
    parse_labels,
    parse_regions,
)
from rankseg_med.evaluation import (
    LabelledCase,
    Network,
    Task,
    document_of,
    find_cases,
    find_network_cases,
    structures_of,
    structures_of_config,
    tune,
    write_tuning,
)
from rankseg_med.networks import shipped_checkpoint
from rankseg_med.report.as_terminal import as_terminal
from rankseg_med.workflows.config import Device, find_config, load_config

_SHOWN = 10


def tune_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Cases that the network was not trained on: stored probabilities (a folder, or nnU-Net's results with "
            "fold_0/validation, ...), or, with --checkpoint, images.",
        ),
    ],
    references: Annotated[
        Path, typer.Argument(help="Folder of reference label maps, a pattern in quotes, or a data list's labels.")
    ],
    output_file: Annotated[
        Path, typer.Option("--output", help="Overlay to write, such as tuned.yaml; all other files lie beside it.")
    ],
    config: Annotated[
        str | None,
        typer.Option(help="Config of the network (trusted: it may hold code) or shipped name; the overlay extends it."),
    ] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Weights of a network to run, which needs --config; several: their mean.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Image, folder or data list that says where arrays lie.")] = None,
    axes: AxesOption = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="Images of a study in a folder: liver_0000, liver_0001, ...")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Classes to tune for, as in 1=anterior,2=posterior.")] = None,
    regions: Annotated[
        str | None, typer.Option(help="Unions of classes to tune for, as in kidney=1+2,tumour=2; instead of --labels.")
    ] = None,
    region_channels: RegionChannelsOption = None,
    patients: PatientsOption = None,
    score: Annotated[Literal["dice", "iou"], typer.Option(help="What to raise: its mean over structures.")] = "dice",
    empty_score: Annotated[
        float, typer.Option(min=0, max=1, help="Score of a structure that is neither there nor found.")
    ] = 1.0,
    folds: Annotated[int, typer.Option(min=2, help="Of the cross-validation over patients.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds and of draws.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each holds one case, and its own network.")] = 1,
    fold: FoldOption = None,
    data_root: DataRootOption = None,
    device: Annotated[
        Device, typer.Option(callback=known_device, help="Where a network runs: auto, cpu, cuda or cuda:1.")
    ] = "auto",
) -> None:
    """Choose calibration, decoder and cleanup by cross-validation over patients, and write an overlay that has them.

    Use it with `predict --config` or `decode --config`. Cases are read, or predicted, twice.
    """
    unions = None if regions is None else parse_regions(regions)
    settings = None if config is None else load_config("inference" if checkpoint else "decode", config, device=device)
    structures = None if settings is None else structures_of_config(settings, unions)
    unused = {
        "--images": images is not None and checkpoint,
        "--axes": axes is not None and checkpoint,
        "--channels": channels is not None and not checkpoint,
        "--device": device != "auto" and not checkpoint,
        "--labels": labels is not None and structures,
        "--region-channels": region_channels is not None and structures,
    }
    for option in (option for option, is_unused in unused.items() if is_unused):
        raise typer.BadParameter(
            f"{option} means nothing {'with' if checkpoint or structures else 'without'} a network"
        )
    cases: Sequence[LabelledCase]
    pairing = _Pairing(data_root=data_root, fold=fold, patients=patients)
    if checkpoint:
        if settings is None or structures is None:
            raise typer.BadParameter("--checkpoint needs --config, which says what network it is of")
        network = Network.from_config(settings, [shipped_checkpoint(name) or Path(name) for name in checkpoint])
        cases = find_network_cases(source, references, network, channels=channels, **pairing)
    else:
        cases = stored = find_cases(source, references, images=images, axes=axes, **pairing)
        structures = structures or structures_of(
            source,
            stored[0].study,
            labels=None if labels is None else parse_labels(labels),
            regions=unions,
            region_channels=None if region_channels is None else parse_regions(region_channels),
        )
    with progress_bar("tuning", 2 * len(cases)) as bar:
        task = Task(structures, score, empty_score)
        tuning = tune(cases, task, folds=folds, seed=seed, workers=workers, on_case=lambda: advance(bar))
    said = None if region_channels is None or structures.regions is None else structures.regions.regions
    write_tuning(tuning, output_file, extends=_extended(config), region_channels=said)
    document = document_of(tuning, best=_SHOWN)
    for table in document.tables:
        output.print(as_terminal(table))
    for note in document.notes:
        complain(note)
    say(f"{output_file}: {document.verdict}")


class _Pairing(TypedDict):
    data_root: Path | None
    fold: int | None
    patients: str | None


def _extended(config: str | None) -> str | None:
    """As another overlay names it, wherever that lies: a shipped name, or an absolute path."""
    if config is None or (path := find_config(config)) != Path(config):
        return config
    return str(path.resolve())
