"""Options of models that nnU-Net trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from rankseg_med.nnunet import Fold

NNUNET = "Models of nnU-Net"
"""Panel of help texts."""

NnunetOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--nnunet",
        metavar="FOLDER",
        help="Trained model of nnU-Net v2, with its plans.json and fold_0, ..., in place of --config and --checkpoint; "
        "needs the extra 'nnunet'. Repeatable, with --merge.",
        rich_help_panel=NNUNET,
    ),
]
FoldsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--folds",
        metavar="0,1,...|all",
        help="Folds whose networks are used. Default: every numbered one.",
        rich_help_panel=NNUNET,
    ),
]
ConfigurationOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--configuration",
        help="Configuration, such as 3d_fullres, of a data set's folder that has several.",
        rich_help_panel=NNUNET,
    ),
]
ExportOption: TypeAlias = Annotated[
    Literal["slabs", "exact"] | None,
    typer.Option(
        "--nnunet-export",
        help="Way of logits to the image's grid: axis by axis, or by nnU-Net itself, which takes its time and memory. "
        "Default: slabs.",
        rich_help_panel=NNUNET,
    ),
]
MirroringOption: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--mirroring/--no-mirroring",
        help="Mean over mirrored windows, where the network was trained for it. Default: as nnU-Net, yes.",
        rich_help_panel=NNUNET,
    ),
]
StepSizeOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--step-size",
        help="Step from window to window, as a share of a window. Default: 0.5.",
        rich_help_panel=NNUNET,
    ),
]
MergeOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--merge",
        metavar="FILE",
        help="YAML or JSON of names and labels, such as {spleen: 1, liver: 5}: merges label maps of several models.",
        rich_help_panel=NNUNET,
    ),
]


def parse_folds(text: str | None) -> list[Fold] | None:
    """``"0,1"`` to ``[0, 1]``, ``"all"`` to ``["all"]``.

    Raises:
        typer.BadParameter: Not of that form.
    """
    if text is None:
        return None
    folds: list[Fold] = []
    for part in map(str.strip, text.split(",")):
        if part != "all" and not (part.isascii() and part.isdigit()):
            raise typer.BadParameter(f"--folds are numbers, such as 0,1, or all; got {text!r}")
        folds.append("all" if part == "all" else int(part))
    return folds
