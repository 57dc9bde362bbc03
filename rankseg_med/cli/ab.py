"""`rankseg-med ab`."""

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
    wrong_options,
)
from rankseg_med.cli.report import report_at_the_end

if TYPE_CHECKING:
    from rankseg_med.evaluation import DecodableCase

EmptyPolicyName = Literal["kits", "default", "nnunet", "lits", "brats"]


def ab_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Cases that neither network nor tuning has seen: stored probabilities, as for decode, or an nnU-Net "
            "results folder, the validation cases of all its folds; or, with --checkpoint, images.",
        ),
    ],
    references: Annotated[
        Path, typer.Argument(help="Folder of reference label maps, a pattern in quotes, or a data list's labels.")
    ],
    output_dir: Annotated[
        Path, typer.Option("--output", "-o", help="New folder for the report (ab.html), its tables, and all scores.")
    ],
    config: Annotated[
        str | None,
        typer.Option(
            help="Tuned setting to try as well: config file (trusted: it may hold code) or shipped name. With "
            "--checkpoint it also says what the network is."
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    presence: Annotated[
        Literal["always", "maybe"],
        typer.Option(help="Whether untuned settings take every structure to be there always, or maybe."),
    ] = "maybe",
    metric: Annotated[
        Literal["dice", "iou"],
        typer.Option(help="What untuned settings decode for, and what all settings are judged by."),
    ] = "dice",
    labels: Annotated[
        str | None,
        typer.Option(help="Classes to score, as in 1=liver,2=tumour. Default: nnU-Net's dataset.json, or every class."),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(help="Unions of classes to decode for and score, as in kidney=1+2,tumour=2; instead of --labels."),
    ] = None,
    region_channels: RegionChannelsOption = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Image, folder or data list that says where arrays lie, and that pictures show."),
    ] = None,
    axes: AxesOption = None,
    channels: ChannelsOption = None,
    patients: PatientsOption = None,
    empty_policy: Annotated[
        EmptyPolicyName, typer.Option(help="What empty masks score. kits: 1 where both are empty, 0 where one is.")
    ] = "kits",
    fold: FoldOption = None,
    data_root: DataRootOption = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that decode and score; each holds one case, and its own network.")
    ] = 1,
    device: DeviceOption = "auto",
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html into the output folder too: every case, sortable.")
    ] = False,
) -> None:
    """Try argmax, RankSEG, the coherent rule and a tuned setting on the same cases, and say which to use.

    Exit code 0 only if every case was decoded and scored.
    """
    from rankseg_med.evaluation import find_cases, run_ab, structures_of
    from rankseg_med.report import as_terminal

    unions = None if regions is None else parse_regions(regions)
    cases: Sequence[DecodableCase]
    pairing = Pairing(data_root=data_root, fold=fold, patients=patients)
    if checkpoint:
        of_stored = {"--images": images, "--axes": axes, "--labels": labels, "--region-channels": region_channels}
        refuse_unused({option: value is not None for option, value in of_stored.items()}, "with a network")
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
        cases = stored = find_cases(source, references, images=images, axes=axes, **pairing)
        with wrong_options():
            structures = structures_of(
                source,
                stored[0].study,
                labels=None if labels is None else parse_labels(labels),
                regions=unions,
                region_channels=None if region_channels is None else parse_regions(region_channels),
            )
    with progress_bar("cases", len(cases)) as bar:
        found = run_ab(
            cases,
            structures,
            output_dir,
            metric=metric,
            presence=presence,
            overlay=config,
            patients=patients,
            empty_policy=empty_policy,
            workers=workers,
            on_case=lambda: advance(bar),
        )
    for table in found.document.tables:
        output.print(as_terminal(table))
    for note in found.document.notes:
        complain(note)
    say(found.verdict.sentence)
    if report:
        report_at_the_end(output_dir)
    if found.result.argmax.failures:
        raise typer.Exit(1)
