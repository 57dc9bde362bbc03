"""Options that say how label maps are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from rankseg_med.studies import LabelMapFormat

FormatName = Literal["nifti", "dicom-seg", "rtstruct"]
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


def format_of(format: FormatName, seg_type: SegType | None, structures: Any) -> LabelMapFormat:  # noqa: ANN401
    """The format that options ask for.

    Args:
        format: Its name.
        seg_type: Kind of DICOM-SEG; None for the usual one.
        structures: The config's entry of that name, or None.

    Raises:
        typer.BadParameter: An option that means nothing to the format.
        InputError: The config's entry cannot be used.
    """
    from rankseg_med.studies import DicomSegFormat, NiftiFormat, RtstructFormat, read_structures

    if seg_type is not None and format != "dicom-seg":
        raise typer.BadParameter(f"--seg-type is an option of --format dicom-seg, and means nothing to {format}")
    if format == "nifti":
        return NiftiFormat()
    said = read_structures(structures)
    return RtstructFormat(said) if format == "rtstruct" else DicomSegFormat(said, seg_type or "binary")
