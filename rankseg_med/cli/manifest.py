"""`rankseg-med manifest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankseg_med.cli.console import complain, say
from rankseg_med.cli.options import ChannelsOption, parse_labels


def manifest_command(
    images: Annotated[Path | None, typer.Argument(help="Folder of images.")] = None,
    labels: Annotated[
        Path | None,
        typer.Argument(help="Folder of label maps, named as the images are but for the number of a channel."),
    ] = None,
    output_file: Annotated[Path | None, typer.Option("--output", "-o", help="Data list to write (.json).")] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="LIST",
            help="Write nothing; report all that is wrong with a data list (.json, .csv), a folder or a pattern in "
            "quotes, and with its files.",
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds for cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the shuffle into folds.")] = 0,
    label_names: Annotated[
        str | None, typer.Option("--labels", help="Names, as in 1=liver,2=tumour. Default: label_1, label_2, ...")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="What the list's paths are relative to. Default: the data list's folder.")
    ] = None,
    channels: ChannelsOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set. Default: the data list's file name.")] = None,
) -> None:
    """Write a Decathlon-style data list after checking every pair of image and label map, or --check one."""
    from rankseg_med.workflows import build_manifest, check_manifest

    if check is not None:
        if images is not None or output_file is not None:
            raise typer.BadParameter("--check writes no list; give it alone, without folders and --output")
        found = check_manifest(check, data_root=data_root, channels=channels)
        for fault in found.faults:
            complain(f"- {fault}")
        say(f"{found.n_studies} studies looked at, {len(found.faults) or 'no'} faults in {check}")
        if found.faults:
            raise typer.Exit(1)
        return
    if images is None or labels is None or output_file is None:
        raise typer.BadParameter("give IMAGES, LABELS and --output to write a data list, or --check LIST")
    manifest = build_manifest(
        images,
        labels,
        output_file,
        folds=folds,
        seed=seed,
        label_names=None if label_names is None else parse_labels(label_names),
        data_root=data_root,
        channels=channels,
        name=name,
    )
    say(f"{len(manifest.training)} studies in {folds} folds written to {output_file}")
