"""The data list of a training set: Medical Segmentation Decathlon's JSON, with case ids and folds."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from rankseg_med.studies.atomic import write_text
from rankseg_med.studies.errors import DataListError, file_fault
from rankseg_med.studies.study import case_id, check_case_id, split_channel

ABSOLUTE_TOO = "absolute paths, too"
"""Context of validation where a list is of this machine alone, as a CSV file may be."""


def _listed_path(path: str, context: object) -> str:
    if context == ABSOLUTE_TOO and posixpath.isabs(path):
        return posixpath.normpath(path)
    # A Windows path's anchor is a drive or a leading separator, so it recognises POSIX's absolute paths too.
    if not path or "\\" in path or PureWindowsPath(path).anchor:
        raise ValueError(f"a path must be relative to the data root and separated by '/', got {path!r}")
    return posixpath.normpath(path)


REPEATED = "repeated"
"""Pydantic's type of the fault that an id or a file occurs more than once."""

RelativePath = Annotated[str, AfterValidator(lambda path, info: _listed_path(path, info.context))]
"""A POSIX path relative to the data root, such as `imagesTr/liver_7.nii.gz`; `..` is allowed, `./` is dropped."""

RelativePaths = Annotated[
    str | Annotated[list[str], Field(min_length=1)],
    AfterValidator(
        lambda paths, info: (
            _listed_path(paths, info.context)
            if isinstance(paths, str)
            else [_listed_path(path, info.context) for path in paths]
        )
    ),
]
"""A path, or a list of paths."""


class ImageEntry(BaseModel):
    """A study without a label map.

    Attributes:
        id: names the case in outputs and messages; by default the image's file name less its suffix, and of several
            images less the channel too (`_0000`).
        image: where the image is, or a list of images on one grid, a channel each.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Annotated[str, AfterValidator(check_case_id)]
    image: RelativePaths

    @property
    def images(self) -> tuple[str, ...]:
        """All images, in the order of the channels."""
        return (self.image,) if isinstance(self.image, str) else tuple(self.image)

    @property
    def files(self) -> tuple[str, ...]:
        """All that it lists."""
        return self.images

    @model_validator(mode="before")
    @classmethod
    def _name_by_image(cls, entry: Any) -> Any:  # noqa: ANN401  (whatever the JSON held)
        if not isinstance(entry, dict) or "id" in entry:
            return entry
        image = entry.get("image")
        if isinstance(image, str):
            return {"id": case_id(PurePosixPath(image)), **entry}
        if isinstance(image, list) and image and isinstance(image[0], str):
            name = case_id(PurePosixPath(image[0]))
            named = split_channel(name)
            return {"id": name if named is None else named[0], **entry}
        return entry


class LabelledEntry(ImageEntry):
    """A study with its label map.

    Attributes:
        label: where the label map is.
        weight: where the weights of its voxels in training are, if they do not count alike.
        fold: in which fold of a cross-validation the study is held out; None where no folds were made.
    """

    label: RelativePath
    weight: RelativePath | None = None
    fold: Annotated[int, Field(ge=0)] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All images, the label map, and the weights."""
        return (*self.images, self.label, *([] if self.weight is None else [self.weight]))


class Manifest(BaseModel):
    """A data list that MONAI's `load_decathlon_datalist` reads too.

    Further keys of a list (licence, modality, ...) are kept as they are.

    Attributes:
        name: name of the data set.
        labels: label value, as a string, to name; has "0", the background.
        training: studies with label maps.
        test: studies without; a bare path in the JSON stands for an entry with that image.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    labels: dict[str, str]
    training: list[LabelledEntry]
    test: list[ImageEntry] = []

    @field_validator("labels")
    @classmethod
    def _labels_by_value(cls, labels: dict[str, str]) -> dict[str, str]:
        values = {str(value) for value in range(256)}
        if "0" not in labels or not values.issuperset(labels):
            raise ValueError(
                'labels must map values from "0", the background, to "255" to names, such as {"0": "background", '
                f'"1": "liver"}}, got {labels}'
            )
        return labels

    @field_validator("test", mode="before")
    @classmethod
    def _paths_as_entries(cls, test: Any) -> Any:  # noqa: ANN401  (whatever the JSON held)
        if not isinstance(test, list):
            return test
        return [{"image": entry} if isinstance(entry, str) else entry for entry in test]

    @model_validator(mode="after")
    def _nothing_twice(self) -> Manifest:
        faults = _repetitions([*self.training, *self.test])
        if faults:
            raise PydanticCustomError(REPEATED, "{faults}", {"faults": "; ".join(faults)})
        return self

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a data list; the files that it lists are not looked at.

        Raises:
            DataListError: if the file is missing, cannot be read, is not JSON, or is not a data list; it names every
                fault.
        """
        try:
            return cls.model_validate_json(read_list(path))
        except ValidationError as error:
            raise DataListError(path, faults_of(error.errors())) from error

    def write(self, path: Path) -> None:
        """Write the data list as JSON, atomically; missing folders are made.

        Raises:
            OSError: if the file cannot be written.
        """
        # MONAI's reader fails on a "test" list that is there but empty.
        absent = None if self.test else {"test"}
        write_text(self.model_dump_json(indent=2, exclude_none=True, exclude=absent) + "\n", path)


def read_list(path: Path) -> bytes:
    """The content of a data list's file.

    Raises:
        DataListError: if it is not a regular file or cannot be read.
    """
    fault = file_fault(path)
    if fault is not None:
        raise DataListError(path, [f"it cannot be read: {fault}"])
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataListError(path, [f"it cannot be read ({error})"]) from error


def faults_of(found: Iterable[ErrorDetails]) -> list[str]:
    """What pydantic found, one by one: where, and what is wrong."""
    return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".lstrip(": ") for fault in found]


def _repetitions(entries: Sequence[ImageEntry]) -> list[str]:
    """Faults for case ids and files that occur more than once in a list."""
    faults = []
    ids = _repeated([entry.id for entry in entries])
    if ids:
        faults.append(f"case ids must differ, but these occur more than once: {ids}; give each entry its own id")
    paths = _repeated([file for entry in entries for file in entry.files])
    if paths:
        faults.append(f"every file may be listed once, but these occur more than once: {paths}")
    return faults


def _repeated(values: list[str]) -> str:
    return ", ".join(value for value, count in Counter(values).items() if count > 1)


def relative_path(path: Path, folder: Path) -> str:
    """A file's path from a folder, as data lists have it."""
    # Folders are resolved, since ".." leads elsewhere from behind a link; a file keeps its own name.
    return Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve())).as_posix()
