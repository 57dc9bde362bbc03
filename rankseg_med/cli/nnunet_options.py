"""Options of models that nnU-Net trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from rankseg_med.nnunet import Fold, ModelFolder

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


def _folds_in(text: str | None) -> list[Fold] | None:
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


def models_named(
    folders: Sequence[Path], folds: str | None, configuration: str | None, checkpoint: Sequence[str] | None
) -> list[ModelFolder]:
    """The models of folders, by what the options say of all of them.

    Raises:
        typer.BadParameter: The options are not of their form.
        NnunetError: There is no such model.
    """
    from rankseg_med.nnunet import ModelFolder

    if checkpoint is not None and folders and len(checkpoint) != 1:
        raise typer.BadParameter("--checkpoint names one file with --nnunet, which is in every fold's folder")
    (name,) = checkpoint if checkpoint and folders else ["checkpoint_final.pth"]
    return [ModelFolder.find(folder, _folds_in(folds), configuration, name) for folder in folders]


def channels_named(source: Path, images: int) -> int | None:
    """How many images make a study by nnU-Net's names, case_0000.nii.gz; None where files are named otherwise."""
    from rankseg_med.studies import is_image_file

    if not source.is_dir():
        return images if images > 1 and "*" in source.name else None
    is_named = images > 1 or any("_0000." in file.name for file in source.iterdir() if is_image_file(file))
    return images if is_named else None


def merged_labels_in(file: Path | None) -> dict[str, int] | None:
    """Names and labels that a file holds; None without a file.

    Raises:
        typer.BadParameter: It holds something else.
        ConfigError: It cannot be read.
    """
    from rankseg_med.configuration import read_config_file

    if file is None:
        return None
    labels = read_config_file(file)
    if not all(type(value) is int for value in labels.values()):
        raise typer.BadParameter(f"--merge {file}: must hold names and whole numbers, such as spleen: 1, got {labels}")
    return {str(name): int(label) for name, label in labels.items()}
