"""Options that say how label maps are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from rankseg_med.studies import LabelMapFormat

FormatName = Literal["nifti", "dicom-seg", "rtstruct"]
LayoutName = Literal["flat", "bids"]
SegType = Literal["binary", "labelmap", "fractional"]

FormatOption: TypeAlias = Annotated[
    FormatName,
    typer.Option(
        "--format",
        help="What label maps are written as. DICOM is for studies that are DICOM series, and needs the extra 'dicom'.",
    ),
]
SegTypeOption: TypeAlias = Annotated[
    SegType | None,
    typer.Option(
        "--seg-type",
        help="Kind of DICOM-SEG: binary, which most programs read, labelmap, or fractional: probabilities in place of "
        "the label map. Default: binary.",
    ),
]
LayoutOption: TypeAlias = Annotated[
    LayoutName,
    typer.Option(
        "--layout",
        help="Where label maps lie: all in one folder, or as a BIDS derivative data set, in a folder for each subject.",
    ),
]
ProbabilitiesOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--probabilities",
        help="Write the probabilities that were decoded, too, as probseg.nii.gz; with --layout bids.",
    ),
]


def chosen_format(
    format: FormatName,
    seg_type: SegType | None,
    layout: LayoutName,
    probabilities: bool,
    structures: Any,  # noqa: ANN401 - whatever a config holds
    inputs_of: Mapping[str, Sequence[Path]],
) -> LabelMapFormat:
    """The format that options ask for.

    Args:
        format: Its name.
        seg_type: Kind of DICOM-SEG; None for the usual one.
        layout: Name of the layout.
        probabilities: Whether probabilities are asked for.
        structures: The config's entry of that name, or None.
        inputs_of: Case id to files of each study that there is.

    Raises:
        typer.BadParameter: An option that means nothing to the format.
        InputError: The config's entry cannot be used, or studies cannot lie in one BIDS data set.
    """
    from rankseg_med.studies import (
        BidsFormat,
        DicomSegFormat,
        NiftiFormat,
        RtstructFormat,
        check_names_differ,
        common_dataset,
        read_structures,
    )

    if seg_type is not None and format != "dicom-seg":
        raise typer.BadParameter(f"--seg-type is an option of --format dicom-seg, and means nothing to {format}")
    if layout == "bids":
        if format != "nifti":
            raise typer.BadParameter(f"--layout bids holds NIfTI, and not --format {format}; leave one of them out")
        check_names_differ(inputs_of)
        sources = common_dataset(file for files in inputs_of.values() for file in files)
        return BidsFormat(sources, read_structures(structures), probabilities)
    if probabilities:
        raise typer.BadParameter(
            "--probabilities is an option of --layout bids; DICOM has them by --seg-type fractional"
        )
    if format == "nifti":
        return NiftiFormat()
    said = read_structures(structures)
    return RtstructFormat(said) if format == "rtstruct" else DicomSegFormat(said, seg_type or "binary")
