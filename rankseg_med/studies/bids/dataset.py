"""What says that a folder is a BIDS derivative data set, and where in it records lie that are none of BIDS's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med import __version__
from rankseg_med.errors import InputError
from rankseg_med.studies.atomic import write_json, write_text
from rankseg_med.studies.bids.names import LABEL_MAP, absolute, dataset_of
from rankseg_med.studies.errors import StudyError, check_regular_file, is_there
from rankseg_med.studies.sidecar import Sidecar

DESCRIPTION = "dataset_description.json"
LOGS = "logs"
"""Folder of records: BIDS leaves what lies in it to whoever writes it, so nothing there can break a data set."""

DESCRIPTION_OF_LABEL_MAPS = (
    "Discrete segmentation by rankseg-med: dseg.tsv names its labels, and logs/ says of each file how it was decided."
)

_BIDS_VERSION = "1.11.1"
_US = "rankseg-med"
_README = """# Segmentations by rankseg-med

A BIDS derivative data set. `sub-*/` holds label maps (`*_dseg.nii.gz`), and, where they were asked for, the
probabilities that they were decided by (`*_probseg.nii.gz`); `dseg.tsv` names the labels. Each file's JSON names its
sources; `DatasetLinks` in `dataset_description.json` says where these lie.

`logs/` holds a record of each study (settings, versions, decisions, volumes, failures) and of each run; read them with
`rankseg-med status` and `rankseg-med report`.
"""


def is_dataset(folder: Path) -> bool:
    """Whether a folder says that it is a BIDS data set."""
    return os.path.isfile(folder / DESCRIPTION)  # noqa: PTH113 - pathlib's raises where it may not look


def records_beside(label_map: Path) -> Path:
    """Where the record of a label map lies; beside one that has no name of BIDS, wherever its folder is."""
    dataset = dataset_of(label_map)
    return dataset / LOGS if label_map.name.endswith(LABEL_MAP) and is_dataset(dataset) else label_map.parent


def check_dataset(folder: Path) -> None:
    """Make sure that a folder is no data set of anybody else's, and holds no flat label maps; it need not be there.

    Raises:
        InputError: It is one, or something else lies in place of the description, or it has records of flat label maps,
            of which readers of the data set would know nothing.
    """
    _Description.read(folder)
    if (flat := next(Sidecar.all_in(folder), None)) is not None:
        raise InputError(
            f"{folder}: holds label maps that are no data set, such as of {flat.case_id}; write BIDS to another folder"
        )


def join_dataset(folder: Path, sources: Path) -> str:
    """Make a folder our derivative data set, unless it is that already; any number of processes may do so at once.

    What somebody adds to the description, such as authors, stays.

    Args:
        folder: The folder.
        sources: Folder or data set of what segmentations are made of.

    Returns:
        The name by which BIDS URIs call `sources` there.

    Raises:
        InputError: It is another data set.
        OSError: A file cannot be written.
    """
    uri = _uri(sources, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder):
        found = _Description.read(folder)
        name = found.name_of(uri, sources.name)
        wanted = found.joined(name, uri)
        if wanted != found:
            write_json(wanted.model_dump(exclude_unset=True), folder / DESCRIPTION)
    if not any(is_there(folder / f"README{ending}") for ending in ("", ".md", ".rst", ".txt")):
        write_text(_README, folder / "README.md")
    # Label maps say the same; it is the table that has no other place to say it.
    if not is_there(folder / "dseg.json"):
        content = {"Description": DESCRIPTION_OF_LABEL_MAPS, "Manual": False, "SpatialReference": "orig"}
        write_json(content, folder / "dseg.json")
    return name


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other processes from doing the same there, until this one ends at the latest."""
    import fcntl  # Unix alone has it

    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # of network file systems, some have no locks
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


class _Maker(BaseModel):
    """What made a data set, of those that did."""

    model_config = ConfigDict(extra="allow")

    Name: str
    Version: str = ""


class _Description(BaseModel):
    """A description of a data set; what else stands in it stays.

    Attributes:
        Name: Its name.
        BIDSVersion: Version of BIDS.
        DatasetType: ``"derivative"`` of ours.
        GeneratedBy: What made it.
        DatasetLinks: Name in BIDS URIs to where that data set lies.
    """

    model_config = ConfigDict(extra="allow")

    Name: str = ""
    BIDSVersion: str = ""
    DatasetType: str = "raw"
    GeneratedBy: list[_Maker] = []
    DatasetLinks: dict[str, str] = {}

    @classmethod
    def read(cls, folder: Path) -> _Description:
        """That of our data set in a folder; a new one where there is none yet.

        Raises:
            InputError: It is of another data set, or of none.
        """
        path = folder / DESCRIPTION
        try:
            path.stat()
            check_regular_file(path)
            found = cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls(Name="Segmentations by rankseg-med", BIDSVersion=_BIDS_VERSION, DatasetType="derivative")
        except (StudyError, ValidationError) as error:
            raise InputError(
                f"{path}: must be the description of a BIDS data set, and is something else ({error}); write to "
                "another folder"
            ) from error
        if found.DatasetType != "derivative" or _US not in [maker.Name for maker in found.GeneratedBy]:
            raise InputError(
                f"{path}: describes another data set, {found.Name!r}, which is not touched; write to another folder"
            )
        return found

    def name_of(self, uri: str, folder_name: str) -> str:
        """The name that a place has in links, or would have."""
        known = [name for name, linked in self.DatasetLinks.items() if linked == uri]
        stem = re.sub("[^0-9A-Za-z]", "", folder_name) or "sources"
        numbered = (f"{stem}{number}" for number in count(2))
        return next(name for name in chain(known, [stem], numbered) if self.DatasetLinks.get(name, uri) == uri)

    def joined(self, name: str, uri: str) -> _Description:
        """The same, with this version of the package among what made it, and a place among its links."""
        us = _Maker(Name=_US, Version=__version__)
        made_by = self.GeneratedBy
        if (us.Name, us.Version) not in [(maker.Name, maker.Version) for maker in made_by]:
            made_by = [*made_by, us]
        return self.model_copy(update={"GeneratedBy": made_by, "DatasetLinks": {**self.DatasetLinks, name: uri}})


def _uri(sources: Path, folder: Path) -> str:
    """Where sources lie: the way up from a data set within theirs, such as in its ``derivatives``, else a URI."""
    place, dataset = absolute(sources), absolute(folder)
    is_within = is_dataset(place) and dataset.is_relative_to(place)
    return os.path.relpath(place, dataset) if is_within else place.as_uri()
