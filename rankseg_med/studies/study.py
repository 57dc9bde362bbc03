"""Studies before they are opened: their files and case ids, and what stands in the way of some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Generic, TypeVar

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.readers import IMAGE_SUFFIXES

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>[0-9]{4})")
_MAX_BYTES = 200
"""File systems take names of 255 bytes; an output adds a suffix, and a temporary one a prefix."""


@dataclass(frozen=True)
class Study:
    """The image of a study on disk, or its images, and what is known of it.

    Attributes:
        case_id: names the study's outputs; unique within a listing and safe as a file name.
        image: the image; of several, the first. A file, or a folder of one DICOM series.
        label: its label map, where a data list gives one.
        fold: the fold in which it is held out, where a data list gives one.
        more_images: the second and further images, on the same grid: a channel each (`load_images`).
        weight: how much its voxels count in training, fractions on the label map's grid, where a data list gives them.
        image_class: index of the class of the image as a whole, where one is known.
    """

    case_id: str
    image: Path
    label: Path | None = None
    fold: int | None = None
    more_images: tuple[Path, ...] = ()
    weight: Path | None = None
    image_class: int | None = None

    @property
    def images(self) -> tuple[Path, ...]:
        """All images, in the order of the channels."""
        return (self.image, *self.more_images)

    @property
    def item(self) -> dict[str, Any]:
        """For MONAI's datasets: `image` (a path, or a list of them), `case_id`, and of the others what there is."""
        images = list(self.images) if self.more_images else self.image
        known = {"label": self.label, "weight": self.weight, "image_class": self.image_class}
        return {"image": images, "case_id": self.case_id, **{k: v for k, v in known.items() if v is not None}}


S = TypeVar("S")
"""What stands for one study: `Study`, `ProbabilityStudy`."""


@dataclass(frozen=True)
class Fault(Generic[S]):
    """Why something that was listed is not among the studies.

    Attributes:
        case_id: id of the study at fault; None where there is no one study, or its id cannot be used.
        reason: what is wrong; names the file or the id.
        studies: what would have been listed otherwise: none, or, where several want one id or file, each of them.
    """

    case_id: str | None
    reason: str
    studies: tuple[S, ...] = ()


@dataclass(frozen=True)
class Listing(Generic[S]):
    """What a user pointed at stands for.

    Attributes:
        source: what that was.
        studies: those that can be worked on; their case ids differ.
        faults: one for each thing that is wrong.
        ignored: files of a folder that are no images, and no part of any study.
    """

    source: Path
    studies: list[S]
    faults: list[Fault[S]] = field(default_factory=list)
    ignored: tuple[Path, ...] = ()

    def all_sound(self) -> list[S]:
        """The studies, if there is no fault.

        Raises:
            StudyError: if there is any; it names all of them.
        """
        if self.faults:
            raise StudyError(_told(self.source, self.faults))
        return self.studies

    def some_sound(self) -> Listing[S]:
        """The same, if there is any study.

        Raises:
            StudyError: if there is none; it names all faults.
        """
        if not self.studies:
            raise StudyError(_told(self.source, self.faults))
        return self


def _told(source: Path, faults: Sequence[Fault[S]]) -> str:
    """A message that names faults, at least one."""
    if len(faults) == 1:
        return f"{source}: {faults[0].reason}"
    return "\n- ".join([f"{source}: faults: {len(faults)}", *(fault.reason for fault in faults)])


def case_id(path: PurePath) -> str:
    """The file name less its image suffix, such as `liver_7` for `images/liver_7.nii.gz`; nothing else is cut off."""
    for suffix in IMAGE_SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def check_case_id(identifier: str) -> str:
    """Return a case id that can safely name a file in an output folder.

    Raises:
        StudyError: if it is empty, `.`, `..`, longer than 200 bytes, or holds a path separator or a character that
            does not print, so that an output would be written elsewhere, not at all, or under a misleading name.
    """
    if identifier in ("", ".", "..") or any(character in identifier for character in "/\\"):
        raise StudyError(
            f"a case id must be a plain file name without path separators, got {identifier!r}; rename the file or "
            "correct the id in the data list"
        )
    if not identifier.isprintable() or len(identifier.encode("utf-8", "surrogateescape")) > _MAX_BYTES:
        raise StudyError(
            f"a case id must print and have at most {_MAX_BYTES} bytes, got {identifier!r}; rename the file or "
            "correct the id in the data list"
        )
    return identifier


def split_channel(name: str) -> tuple[str, int] | None:
    """Case id and number of the channel, of an image named as nnU-Net does; None of other names.

    Args:
        name: File name less its suffix, such as `case_0000`.
    """
    match = _CHANNEL.fullmatch(name)
    return None if match is None else (match["case"], int(match["channel"]))
