"""The data list of a training set: Medical Segmentation Decathlon's JSON, with case ids and folds."""

import posixpath
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rankseg_med.studies.atomic import atomic_write
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.naming import case_id, check_case_id


def _relative_path(path: str) -> str:
    # A Windows path's anchor is a drive or a leading separator, so it recognises POSIX's absolute paths too.
    if not path or "\\" in path or PureWindowsPath(path).anchor:
        raise ValueError(f"a path must be relative to the data root and separated by '/', got {path!r}")
    return posixpath.normpath(path)


RelativePath = Annotated[str, AfterValidator(_relative_path)]
"""A POSIX path relative to the data root, such as `imagesTr/liver_7.nii.gz`; `..` is allowed, `./` is dropped."""


class ImageEntry(BaseModel):
    """A study without a label map.

    Attributes:
        id: names the case in outputs and messages; by default the image's file name less its NIfTI suffix.
        image: where the image is.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Annotated[str, AfterValidator(check_case_id)]
    image: RelativePath

    @model_validator(mode="before")
    @classmethod
    def _name_by_image(cls, entry: Any) -> Any:  # noqa: ANN401  (whatever the JSON held)
        if isinstance(entry, dict) and "id" not in entry and isinstance(entry.get("image"), str):
            return {"id": case_id(PurePosixPath(entry["image"])), **entry}
        return entry


class LabelledEntry(ImageEntry):
    """A study with its label map.

    Attributes:
        label: where the label map is.
        fold: in which fold of a cross-validation the study is held out; None where no folds were made.
    """

    label: RelativePath
    fold: Annotated[int, Field(ge=0)] | None = None


class Manifest(BaseModel):
    """A data list that MONAI's `load_decathlon_datalist` reads too.

    Further keys of a list (licence, modality, ...) are kept as they are.

    Attributes:
        name: of the data set.
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
    def _nothing_twice(self) -> "Manifest":
        entries = [*self.training, *self.test]
        ids = _repeated([entry.id for entry in entries])
        if ids:
            raise ValueError(f"case ids must differ, but these occur more than once: {ids}; give each entry its own id")
        paths = _repeated([entry.image for entry in entries] + [entry.label for entry in self.training])
        if paths:
            raise ValueError(f"every file may be listed once, but these occur more than once: {paths}")
        return self

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a data list; the files that it lists are not looked at.

        Raises:
            StudyError: if the file is missing, is not JSON, or is not a data list; the message names every fault.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise StudyError(f"{path}: the data list cannot be read ({error.strerror})") from error
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".lstrip(": ") for fault in error.errors())
            raise StudyError(f"{path}: not a data list: {'; '.join(faults)}") from error

    def write(self, path: Path) -> None:
        """Write the data list as JSON, atomically; missing folders are made.

        Raises:
            OSError: if the file cannot be written.
        """
        # MONAI's reader fails on a "test" list that is there but empty.
        absent = None if self.test else {"test"}
        with atomic_write(path) as temporary:
            temporary.write_text(
                self.model_dump_json(indent=2, exclude_none=True, exclude=absent) + "\n", encoding="utf-8"
            )


def _repeated(values: list[str]) -> str:
    return ", ".join(value for value, count in Counter(values).items() if count > 1)
