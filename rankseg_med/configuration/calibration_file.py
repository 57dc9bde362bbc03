"""The calibration that a job's config names: as it was when the job began, wherever the work is done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from rankseg_med.calibration import Calibration, CalibrationError, parse_calibration, read_calibration_text


@dataclass(frozen=True)
class CalibrationFile:
    """A calibration file's content; as text, in digests of settings, it is its hash.

    Attributes:
        path: Path where it was read.
        content: What it held.
    """

    path: Path
    content: str

    @classmethod
    def read(cls, path: Path) -> CalibrationFile:
        """Read a file that `save_calibration` wrote.

        Raises:
            CalibrationError: It cannot be used; see `load_calibration`.
        """
        found = cls(path, read_calibration_text(path))
        found.build()
        return found

    @property
    def sha256(self) -> str:
        """Hash of the content, 64 hexadecimal digits."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def build(self) -> Calibration:
        """The calibration."""
        return parse_calibration(self.content, self.path)

    def built_for(self, channels: int, *, independent: bool) -> Calibration:
        """The calibration of so many classes or, independent, channels.

        Raises:
            CalibrationError: It is of another number, or of the other kind of channels.
        """
        calibration = self.build()
        if (calibration.num_classes, calibration.independent) != (channels, independent):
            raise CalibrationError(
                f"{self.path}: is of {_named(calibration.num_classes, calibration.independent)}, but there are "
                f"{_named(channels, independent)}; fit one to these probabilities"
            )
        return calibration

    def __str__(self) -> str:
        return self.sha256


def calibration_file_of(config: ConfigParser) -> CalibrationFile | None:
    """The file that a config's ``calibration`` names; None if there is none, or it is a component.

    Raises:
        CalibrationError: The file cannot be used.
    """
    given = config.get("calibration")
    if isinstance(given, Mapping):
        return None
    found = config.get_parsed_content("calibration") if given is not None else None
    if isinstance(found, str | Path):
        return CalibrationFile.read(Path(found))
    return found if isinstance(found, CalibrationFile) else None


def record_of(calibration: Calibration | None, file: CalibrationFile | None) -> dict[str, Any] | None:
    """What a sidecar says of a calibration: its kind, and the file's hash where it is not the checkpoint's."""
    if calibration is None:
        return None
    return {"kind": calibration.kind, **({"source": "checkpoint"} if file is None else {"sha256": file.sha256})}


def _named(channels: int, independent: bool) -> str:
    return f"{channels} independent channels" if independent else f"{channels} exclusive classes, background included"
