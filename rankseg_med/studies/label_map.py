"""Label maps on exactly the grid of the image they belong to, fractions in their place, and the names of labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Float, UInt8

from rankseg_med.studies.atomic import atomic_write, write_text
from rankseg_med.studies.errors import StudyError, check_regular_file, is_there
from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.readers import read_grid
from rankseg_med.studies.readers.nifti_header import is_nifti, open_nifti, stored_header
from rankseg_med.studies.structures import colours_of

_MAX_LABEL = 255
_NIFTI2_HEADER_BYTES = 540
_SCANNER = 1  # NIfTI's code for coordinates of the scanner, as in DICOM

_GEOMETRY_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)

LABEL_TABLE = "dseg.tsv"
"""Table of an output folder's labels, as BIDS derivatives have it: columns ``index``, ``name`` and maybe ``color``."""

Colours: TypeAlias = Mapping[int, tuple[int, int, int]]
"""Label to red, green and blue, each from 0 to 255."""

_CARET = 30
"""NIfTI's code of the XML extension in which Connectome Workbench and TotalSegmentator keep label tables."""


def write_label_map(
    labels: torch.Tensor | np.ndarray,
    path: Path,
    grid_of: Path,
    names: Mapping[int, str] | None = None,
    colours: Colours | None = None,
) -> None:
    """Write a label map as uint8 NIfTI on the grid of its image, atomically.

    Of a NIfTI image the header's geometry is copied field by field, not computed again, so every program places the
    label map exactly where it places the image. Nothing else of the source's header is carried over: descriptions and
    extensions may name the patient, and intent and display range are the image's. Of other images the affine becomes
    the sform, and the qform too unless the axes are slanted, which a qform cannot say.

    Args:
        labels: `(X, Y, Z)` whole numbers from 0 to 255 of any integer type, on any device; all 0 is valid.
        path: where it goes, ending in `.nii` or `.nii.gz`; missing folders are made, an existing file is replaced.
        grid_of: the image that was segmented: any that `open_image` takes, a DICOM folder too, or several NIfTI volumes
            on one grid. NIfTI-2 gives NIfTI-2; everything else gives NIfTI-1.
        names: label to name, without the background, for a label table in the header; by default none.
        colours: colours of the named labels in that table; by default by turns.

    Raises:
        StudyError: if the labels are not `(X, Y, Z)` integers from 0 to 255 of the image's shape, if `path` is not
            named as a single NIfTI file, or if the image's header is unusable (see `open_image`).
        OSError: if the file cannot be written.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise StudyError(f"{path}: a label map must be written to a file named .nii or .nii.gz")
    is_copy = is_nifti(grid_of) and not grid_of.is_dir()
    source = open_nifti(grid_of, channels=True) if is_copy else read_grid(grid_of)
    voxels = checked_labels(labels, path, source.shape[:3], grid_of)
    label_map = _with_affine_of(source, voxels) if isinstance(source, Grid) else _with_header_of(source, voxels)
    if names:
        label_map.header.extensions.append(_label_table(names, colours or colours_of(names)))
    with atomic_write(path) as temporary:
        label_map.to_filename(temporary)


def _with_header_of(image: nib.Nifti1Pair, voxels: np.ndarray) -> nib.Nifti1Image:
    stored = stored_header(image)
    nifti = nib.Nifti2Image if stored["sizeof_hdr"] == _NIFTI2_HEADER_BYTES else nib.Nifti1Image
    label_map = nifti(voxels, affine=None)
    for field in _GEOMETRY_FIELDS:
        label_map.header[field] = stored[field]
    return label_map


def _with_affine_of(grid: Grid, voxels: np.ndarray) -> nib.Nifti1Image:
    label_map = nib.Nifti1Image(voxels, grid.affine)
    label_map.header.set_xyzt_units("mm")
    directions = grid.affine[:3, :3] / grid.spacing_mm
    perpendicular = np.allclose(directions.T @ directions, np.eye(3), atol=1e-4)
    label_map.set_sform(grid.affine, code=_SCANNER)
    label_map.set_qform(grid.affine, code=_SCANNER if perpendicular else 0)
    return label_map


def checked_labels(
    labels: torch.Tensor | np.ndarray, path: Path, shape: tuple[int, ...], grid_of: Path
) -> UInt8[np.ndarray, "X Y Z"]:
    """Labels as they are written.

    Args:
        labels: `(X, Y, Z)` whole numbers from 0 to 255 of any integer type, on any device.
        path: Where they go, for messages.
        shape: Shape that they must have...
        grid_of: ... of this image.

    Raises:
        StudyError: They are no such labels.
    """
    voxels = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else labels
    if voxels.dtype.kind not in "iu":
        raise StudyError(
            f"{path}: labels must be of an integer type, got {voxels.dtype}; convert them, such as to uint8"
        )
    if voxels.size and (voxels.min() < 0 or voxels.max() > _MAX_LABEL):
        raise StudyError(
            f"{path}: labels must lie between 0 and {_MAX_LABEL}, got {voxels.min()} to {voxels.max()}; they are "
            "written as uint8 and never clipped"
        )
    if voxels.shape != shape:
        raise StudyError(
            f"{path}: labels must have the shape {shape} of {grid_of}, got {voxels.shape}; drop a channel "
            "axis, and invert any cropping, resampling or reorientation first"
        )
    return voxels.astype(np.uint8, copy=False)


_LEVELS = 65_535


def write_fractions(values: Float[torch.Tensor, "X Y Z *channels"], path: Path, grid_of: Path) -> None:
    """Write values in [0, 1] as NIfTI on the grid of an image, atomically.

    They are stored in two bytes each, rounded to 65,536 levels; the header's slope makes readers give them back as
    fractions.

    Args:
        values: `(X, Y, Z)`, or `(X, Y, Z, channels)` for a 4-D file.
        path: where it goes, ending in `.nii` or `.nii.gz`; an existing file is replaced.
        grid_of: the image whose grid it has: any that `open_image` takes, or several NIfTI volumes on one grid.

    Raises:
        StudyError: the values leave [0, 1] or have another shape than the image, or its header is unusable.
        OSError: the file cannot be written.
    """
    grid = read_grid(grid_of, channels=True)
    if tuple(values.shape[:3]) != grid.shape:
        raise StudyError(f"{path}: must have the shape {grid.shape} of {grid_of}, got {tuple(values.shape[:3])}")
    # Also false for NaN.
    if values.numel() and not (float(values.min()) >= 0 and float(values.max()) <= 1):
        raise StudyError(f"{path}: values must lie in [0, 1], got {float(values.min())} to {float(values.max())}")
    levels = np.empty(tuple(values.shape), np.uint16)
    # Plane by plane, for the sake of memory.
    for plane, rounded in zip(values, levels, strict=True):
        rounded[...] = (plane.cpu() * _LEVELS).round_().numpy()
    fractions = nib.Nifti1Image(levels, grid.affine, dtype=np.uint16)
    fractions.header.set_slope_inter(1 / _LEVELS, 0)
    # The fourth axis has no unit, and validators of BIDS want one.
    fractions.header.set_xyzt_units("mm", "sec" if levels.ndim > 3 else None)
    fractions.set_sform(grid.affine, code=_SCANNER)
    with atomic_write(path) as temporary:
        fractions.to_filename(temporary)


def _label_table(names: Mapping[int, str], colours: Colours) -> nib.nifti1.Nifti1Extension:
    """The extension of a NIfTI header that names the labels of its volume, with colours."""
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for label, name in sorted(names.items()):
        red, green, blue = (f"{part / 255:.2g}" for part in colours[label])
        entry = ElementTree.SubElement(table, "Label", Key=str(label), Red=red, Green=green, Blue=blue, Alpha="1.0")
        entry.text = name
    ElementTree.SubElement(volume, "VolumeType").text = "Label"
    return nib.nifti1.Nifti1Extension(_CARET, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def labels_named_in(path: Path) -> dict[int, str]:
    """Label to name, as a NIfTI file's label table says; empty if it has none that can be read.

    Raises:
        StudyError: The file's header cannot be used.
    """
    if not is_nifti(path):
        return {}
    for extension in open_nifti(path).header.extensions:
        text = extension.content
        if b"LabelTable" not in text:
            continue
        try:
            entries = ElementTree.fromstring(text.rstrip(b"\0")).iter("Label")
            return {
                int(entry.attrib["Key"]): (entry.text or "").strip() for entry in entries if entry.attrib["Key"] != "0"
            }
        except (ElementTree.ParseError, KeyError, ValueError):
            continue
    return {}


def write_label_names(names: Mapping[int, str], folder: Path, colours: Colours | None = None) -> None:
    """Write a folder's table of labels, unless it says the same already, and maybe more.

    Args:
        names: Label to name, without the background.
        folder: Folder of label maps, which is there.
        colours: Colours of these labels, for a column of them; by default there is none.

    Raises:
        StudyError: There is a table that says otherwise; it is left as it is.
        OSError: It cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    rows: list[tuple[object, ...]] = [("index", "name"), *sorted(names.items())]
    shown = {label: f"#{bytes(colours[label]).hex().upper()}" for label in sorted(names)} if colours else {}
    if colours is not None:
        rows = [(*row, colour) for row, colour in zip(rows, ["color", *shown.values()], strict=True)]
    writer.writerows(rows)
    path = folder / LABEL_TABLE
    if not is_there(path):
        write_text(table.getvalue(), path)
    elif (found := read_label_names(folder)) != dict(names):
        raise StudyError(
            f"{path}: names the labels {found}, which are {dict(names)} here; remove it, or write to another folder"
        )
    elif differing := {label: said for label, said in _colours_in(path).items() if shown.get(label, said) != said}:
        raise StudyError(
            f"{path}: gives the labels the colours {differing}, which are {shown} here; remove it, or write to another "
            "folder"
        )


def _colours_in(path: Path) -> dict[int, str]:
    """Label to colour, as a table that can be read says, such as ``#D65E00``."""
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), delimiter="\t")
    return {int(row["index"]): colour.upper() for row in rows if (colour := row.get("color"))}


def read_label_names(folder: Path) -> dict[int, str] | None:
    """Label to name, as a folder's table says; None if it has none.

    Raises:
        StudyError: It is no such table, or has a label or a name twice.
    """
    path = folder / LABEL_TABLE
    if not is_there(path):
        return None
    check_regular_file(path)
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), delimiter="\t"))
        entries = [(int(row["index"]), row["name"]) for row in rows if int(row["index"])]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise StudyError(f"{path}: must be a table of labels with the columns index and name ({error})") from error
    labels = dict(entries)
    if not len(entries) == len(labels) == len(set(labels.values())):
        raise StudyError(f"{path}: every label and every name must be there once, got {entries}; mend it")
    return labels
