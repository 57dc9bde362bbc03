"""The errors that mean "this study is at fault, not the program"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankseg_med.errors import InputError


class StudyError(InputError):
    """A study that cannot be used; the message names the file, what was required, what came and the likely fix."""


class GridError(StudyError):
    """Two files that should share one grid but do not; the message names both values of what differs."""


class DataListError(StudyError):
    """A data list that cannot be used.

    Attributes:
        faults: everything that is wrong with it, one by one.
    """

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        super().__init__(f"{path}: not a data list: {'; '.join(faults)}")
        self.faults = list(faults)
