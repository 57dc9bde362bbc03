"""`rankseg-med tune`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankseg_med.cli.console import advance, complain, output, progress_bar, say
from rankseg_med.cli.network_cases import CheckpointOption, Pairing, network_cases, refuse_unused
from rankseg_med.cli.options import (
    AxesOption,
    ChannelsOption,
    DataRootOption,
    DeviceOption,
    FoldOption,
    PatientsOption,
    RegionChannelsOption,
    parse_labels,
    parse_regions,
)

if TYPE_CHECKING:
    from rankseg_med.evaluation import LabelledCase
    from rankseg_med.studies import NnunetLabels

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
        Path,
        typer.Option("--output", "-o", help="Overlay to write, such as tuned.yaml; other files lie beside it."),
    ],
    config: Annotated[
        str | None,
        typer.Option(help="Config of the network (trusted: it may hold code) or shipped name; the overlay extends it."),
    ] = None,
    checkpoint: CheckpointOption = None,
    images: Annotated[Path | None, typer.Option(help="Image, folder or data list that says where arrays lie.")] = None,
    axes: AxesOption = None,
    channels: ChannelsOption = None,
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
    folds: Annotated[int, typer.Option(min=2, help="Number of folds of the cross-validation over patients.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of folds and draws.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each holds one case, and its own network.")] = 1,
    fold: FoldOption = None,
    data_root: DataRootOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Choose calibration, decoder and cleanup by cross-validation over patients, and write an overlay that has them.

    Use it with `predict --config` or `decode --config`. Cases are read, or predicted, twice.
    """
    from rankseg_med.configuration import find_config, load_config
    from rankseg_med.evaluation import (
        Task,
        find_cases,
        structures_of,
        structures_of_config,
        tune,
        tuning_document,
        write_tuning,
    )
    from rankseg_med.report import as_terminal

    if output_file.resolve() == (None if config is None else find_config(config).resolve()):
        raise typer.BadParameter(f"--output {output_file} is the config itself; only what is tuned would be left")
    unions = None if regions is None else parse_regions(regions)
    channels_are_said = {"--labels": labels is not None, "--region-channels": region_channels is not None}
    structures: NnunetLabels | None
    cases: Sequence[LabelledCase]
    pairing = Pairing(data_root=data_root, fold=fold, patients=patients)
    if checkpoint:
        of_stored = {"--images": images is not None, "--axes": axes is not None}
        refuse_unused(of_stored | channels_are_said, "with a network")
        cases, structures = network_cases(
            source,
            references,
            config=config,
            checkpoint=checkpoint,
            device=device,
            channels=channels,
            regions=unions,
            pairing=pairing,
        )
    else:
        refuse_unused({"--channels": channels is not None, "--device": device != "auto"}, "without a network")
        structures = None if config is None else structures_of_config(load_config("decode", config), unions)
        if structures is not None:
            refuse_unused(channels_are_said, "with a network")
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
    document = tuning_document(tuning, best=_SHOWN)
    for table in document.tables:
        output.print(as_terminal(table))
    for note in document.notes:
        complain(note)
    say(f"{output_file}: {document.verdict}")


def _extended(config: str | None) -> str | None:
    """As another overlay names it, wherever that lies: a shipped name, or an absolute path."""
    from rankseg_med.configuration import find_config

    if config is None or (path := find_config(config)) != Path(config):
        return config
    return str(path.resolve())
