"""Names of a label map's values: in the file itself, and in a table beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib

from rankseg_med.studies.atomic import atomic_write
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.naming import is_nifti
from rankseg_med.studies.nifti import open_nifti
from rankseg_med.studies.reading import check_regular_file, is_there

LABEL_TABLE = "dseg.tsv"
"""Table of an output folder's labels, as BIDS derivatives have it: columns ``index`` and ``name``."""

_CARET = 30
"""NIfTI's code of the XML extension in which Connectome Workbench and TotalSegmentator keep label tables."""
# Of Okabe and Ito, who are kind to colour-blind readers; each part from 0 to 1.
_COLOURS = (
    *((0.84, 0.37, 0.0), (0.0, 0.45, 0.7), (0.0, 0.62, 0.45), (0.8, 0.47, 0.65)),
    *((0.34, 0.71, 0.91), (0.9, 0.62, 0.0), (0.94, 0.89, 0.26)),
)


def label_table_extension(names: Mapping[int, str]) -> nib.nifti1.Nifti1Extension:
    """The extension of a NIfTI header that names the labels of its volume, with colours.

    Args:
        names: Label to name, without the background.
    """
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for number, (label, name) in enumerate(sorted(names.items())):
        red, green, blue = map(str, _COLOURS[number % len(_COLOURS)])
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


def write_label_names(names: Mapping[int, str], folder: Path) -> None:
    """Write a folder's table of labels, unless it says so already.

    Args:
        names: Label to name, without the background.
        folder: Folder of label maps, which is there.

    Raises:
        StudyError: There is a table that says otherwise; it is left as it is.
        OSError: It cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    writer.writerows([("index", "name"), *sorted(names.items())])
    path = folder / LABEL_TABLE
    if not is_there(path):
        with atomic_write(path) as temporary:
            temporary.write_text(table.getvalue(), encoding="utf-8")
    elif (found := read_label_names(folder)) != dict(names):
        raise StudyError(
            f"{path}: names the labels {found}, which are {dict(names)} here; remove it, or write to another folder"
        )


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
        raise StudyError(f"{path}: every label and every name must be there once, found {entries}; mend it")
    return labels
