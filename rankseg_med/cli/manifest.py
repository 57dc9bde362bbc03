"""`rankseg-med manifest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankseg_med.cli.console import say
from rankseg_med.cli.options import parse_labels
from rankseg_med.workflows.manifest import build_manifest


def manifest_command(
    images: Annotated[Path, typer.Argument(help="Folder of NIfTI images.")],
    labels: Annotated[Path, typer.Argument(help="Folder of NIfTI label maps with the same file names.")],
    output_file: Annotated[Path, typer.Option("--output", help="Data list to write (.json).")],
    folds: Annotated[int, typer.Option(min=2, help="Folds for cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the shuffle into folds.")] = 0,
    label_names: Annotated[
        str | None, typer.Option("--labels", help="Names, as in 1=liver,2=tumour. Default: label_1, label_2, ...")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="What the written paths are relative to. Default: the data list's folder.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the data set. Default: the data list's file name.")] = None,
) -> None:
    """Write a Decathlon-style data list after checking that every image has a label map on the same grid."""
    manifest = build_manifest(
        images,
        labels,
        output_file,
        folds=folds,
        seed=seed,
        label_names=None if label_names is None else parse_labels(label_names),
        data_root=data_root,
        name=name,
    )
    say(f"{len(manifest.training)} studies in {folds} folds written to {output_file}")
