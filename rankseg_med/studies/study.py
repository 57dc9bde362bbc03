"""What is known of studies before they are opened, and what stands in the way of some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from rankseg_med.studies.errors import StudyError


@dataclass(frozen=True)
class Study:
    """The image of a study on disk, or its images, and what is known of it.

    Attributes:
        case_id: names the study's outputs; unique within a listing and safe as a file name.
        image: the image; of several, the first. A file, or a folder of one DICOM series.
        label: its label map, where a data list gives one.
        fold: the fold in which it is held out, where a data list gives one.
        more_images: the second and further images, on the same grid: a channel each (`load_images`).
    """

    case_id: str
    image: Path
    label: Path | None = None
    fold: int | None = None
    more_images: tuple[Path, ...] = ()

    @property
    def images(self) -> tuple[Path, ...]:
        """All images, in the order of the channels."""
        return (self.image, *self.more_images)


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
