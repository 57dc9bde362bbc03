"""Names that BIDS gives to the segmentations of a study."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rankseg_med.errors import InputError

LABEL_MAP = "_dseg.nii.gz"
"""What the name of a label map ends in."""

_LABEL = "[0-9A-Za-z+]+"
_NAME = re.compile(rf"sub-{_LABEL}(_[a-z]+-{_LABEL})*(_[0-9A-Za-z]+)?")
_SUBJECT_FOLDER = re.compile(rf"sub-{_LABEL}")
_NUMBERED = {"run", "echo", "chunk"}

# Of a segmentation by BIDS 1.11, in this order; an image may have others, such as its tracer or inversion time.
_ENTITIES = (
    *("sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "echo", "part", "space", "chunk", "atlas", "seg"),
    *("scale", "res", "desc"),
)
_NOT_OF = {"anat": {"dir"}, "func": set[str](), "dwi": {"task", "ce", "echo"}}
"""Folders that segmentations may lie in, and which of the entities they have not there."""


@dataclass(frozen=True)
class BidsName:
    """What the files of one study are called.

    Attributes:
        entities: Such as ``{"sub": "01", "ses": "2"}``, in the order of BIDS.
        datatype: Folder, such as ``"anat"``.
    """

    entities: Mapping[str, str]
    datatype: str

    @classmethod
    def of(cls, case_id: str, inputs: Sequence[Path]) -> BidsName:
        """Name of a study.

        A case id that is a BIDS name, ``sub-01_ses-2_T1w``, keeps the entities that segmentations have, without its
        suffix; any other becomes a subject of its letters and digits: ``liver_12`` is ``sub-liver12``. The folder is
        that of the inputs where BIDS has segmentations in it, else ``anat``.

        Args:
            case_id: The study.
            inputs: Its files.

        Raises:
            InputError: The case id has neither letters nor digits of ASCII.
        """
        given = entities_in(case_id) or {"sub": _subject(case_id)}
        folders = [path.parent.name for path in inputs]
        datatype = next((folder for folder in folders if folder in _NOT_OF), "anat")
        if datatype == "func" and "task" not in given:
            datatype = "anat"
        kept = [entity for entity in _ENTITIES if entity in given and entity not in _NOT_OF[datatype]]
        return cls({entity: given[entity] for entity in kept}, datatype)

    def path(self, ending: str = LABEL_MAP) -> PurePosixPath:
        """Where a file lies in the data set, such as ``sub-01/ses-2/anat/sub-01_ses-2_dseg.nii.gz``."""
        parts = {entity: f"{entity}-{label}" for entity, label in self.entities.items()}
        folders = [parts[entity] for entity in ("sub", "ses") if entity in parts]
        return PurePosixPath(*folders, self.datatype, "_".join(parts.values()) + ending)


def entities_in(name: str) -> dict[str, str]:
    """The entities of a BIDS name without its ending, with or without a suffix; empty if it is no such name."""
    if not _NAME.fullmatch(name):
        return {}
    entities = {entity: label for entity, _, label in (part.partition("-") for part in name.split("_")) if label}
    is_sound = len(entities) == name.count("-") and all(
        entities[entity].isdigit() for entity in _NUMBERED & entities.keys()
    )
    return entities if is_sound else {}


def _subject(case_id: str) -> str:
    plain = unicodedata.normalize("NFKD", case_id).encode("ascii", "ignore").decode()
    label = re.sub("[^0-9A-Za-z]", "", plain.removeprefix("sub-"))
    if not label:
        raise InputError(
            f"{case_id!r}: must have a letter or digit of ASCII, of which names of subjects are made in BIDS; rename "
            "the study"
        )
    return label


def check_names_differ(inputs_of: Mapping[str, Sequence[Path]]) -> None:
    """Make sure that all studies of a run can lie in one data set; BIDS does not tell names apart by case.

    Args:
        inputs_of: Case id to files of the study.

    Raises:
        InputError: Two studies would have one name, or one has none.
    """
    taken: dict[str, str] = {}
    for case_id, inputs in inputs_of.items():
        path = str(BidsName.of(case_id, inputs).path())
        other = taken.setdefault(path.lower(), case_id)
        if other != case_id:
            raise InputError(
                f"{other} and {case_id} would both be {path}: names of segmentations have no suffix, such as T1w, and "
                "subjects no other signs than letters and digits; rename one, such as with acq-, or give each kind of "
                "image an output folder of its own"
            )


def dataset_of(file: Path) -> Path:
    """The data set that a file lies in: the folder above its subject's, or, outside of BIDS, its own folder."""
    for folder in file.parents:
        if _SUBJECT_FOLDER.fullmatch(folder.name):
            return folder.parent
    return file.parent


def common_dataset(files: Iterable[Path]) -> Path:
    """The folder that holds the data sets of all files, at least one; absolute."""
    return Path(os.path.commonpath([dataset_of(absolute(file)) for file in files]))


def absolute(path: Path) -> Path:
    """The path from the root, without ``..``; links stay."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - pathlib's follows links
