"""What is known of a study before it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
