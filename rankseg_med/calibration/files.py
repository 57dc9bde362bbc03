"""Calibrations on disk: small JSON files that people can read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rankseg_med.calibration.calibration import Calibration
from rankseg_med.calibration.counts import Weighting
from rankseg_med.calibration.isotonic import IsotonicCalibration
from rankseg_med.calibration.monotone_map import MonotoneMap
from rankseg_med.calibration.temperature import Temperature
from rankseg_med.errors import InputError


class CalibrationError(InputError):
    """A calibration file that cannot be used; the message says why."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    version: Literal[1] = 1
    num_classes: int


class _TemperatureFile(_File):
    kind: Literal["temperature"] = "temperature"
    class_biases: bool
    temperature: Annotated[float, Field(gt=0)]
    bias: list[float]

    def build(self) -> Temperature:
        calibration = Temperature(self.num_classes, class_biases=self.class_biases)
        if len(self.bias) != self.num_classes:
            raise ValueError(f"bias must have {self.num_classes} values, one for each class, got {len(self.bias)}")
        if not self.class_biases and any(self.bias):
            raise ValueError(f"bias must be 0 without class_biases, got {self.bias}")
        calibration.inverse_temperature.fill_(1 / self.temperature)
        calibration.bias.copy_(torch.tensor(self.bias))
        return calibration


class _Map(BaseModel):
    model_config = _File.model_config

    labels: list[int] | None
    probability: list[float]
    calibrated: list[float]


class _IsotonicFile(_File):
    kind: Literal["isotonic"] = "isotonic"
    independent: bool
    weighting: Weighting
    regions: list[_Map]

    def build(self) -> IsotonicCalibration:
        labels = [region.labels for region in self.regions if region.labels is not None]
        if self.independent == bool(labels) or len(labels) not in (0, len(self.regions)):
            raise ValueError("independent channels have labels null, regions of exclusive classes have labels")
        calibration = IsotonicCalibration(
            self.num_classes, labels or None, independent=self.independent, weighting=self.weighting
        )
        calibration.set_maps([_map_of(region, index) for index, region in enumerate(self.regions)])
        return calibration


_ANY: TypeAdapter[_TemperatureFile | _IsotonicFile] = TypeAdapter(
    Annotated[_TemperatureFile | _IsotonicFile, Field(discriminator="kind")]
)


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON; `load_calibration` reads it back exactly.

    Args:
        calibration: A `Temperature` or an `IsotonicCalibration`.
        path: Path of the file; one that is there is replaced.

    Raises:
        TypeError: A kind that has no form as a file.
    """
    content: _TemperatureFile | _IsotonicFile
    if isinstance(calibration, Temperature):
        content = _TemperatureFile(
            num_classes=calibration.num_classes,
            class_biases=calibration.class_biases,
            temperature=calibration.temperature,
            bias=_shortest(calibration.bias.tolist()),
        )
    elif isinstance(calibration, IsotonicCalibration):
        labels = [None] * calibration.num_classes if calibration.regions is None else calibration.regions.labels
        content = _IsotonicFile(
            num_classes=calibration.num_classes,
            independent=calibration.independent,
            weighting=calibration.weighting,
            regions=[
                _Map(
                    labels=None if region is None else list(region),
                    probability=_shortest(found.probability),
                    calibrated=_shortest(found.calibrated),
                )
                for region, found in zip(labels, calibration.maps, strict=True)
            ],
        )
    else:
        raise TypeError(f"only temperature and isotonic calibrations have files, got {type(calibration).__name__}")
    path.write_text(content.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load_calibration(path: Path) -> Calibration:
    """Read what `save_calibration` wrote.

    Raises:
        CalibrationError: There is no such file, it is no calibration of this version, or holds what none can be, such
            as knots that fall or leave [0, 1]; the message names the file and the entry.
    """
    return parse_calibration(read_calibration_text(path), path)


def read_calibration_text(path: Path) -> str:
    """What a calibration's file holds, not looked at.

    Raises:
        CalibrationError: There is no such file, or it is none of text.
    """
    try:
        if not path.is_file():  # which a FIFO is not, and opening one waits forever
            what = "is no regular file" if path.exists() else "no such calibration file"
            raise CalibrationError(f"{path}: {what}; save_calibration writes one")
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise CalibrationError(f"{path}: cannot be read ({error})") from error


def parse_calibration(text: str, path: Path) -> Calibration:
    """The calibration of a file's text.

    Args:
        text: Content of the file.
        path: Path where it was, for messages.

    Raises:
        CalibrationError: As of `load_calibration`.
    """
    try:
        return _ANY.validate_json(text).build()
    except ValidationError as error:
        first = error.errors()[0]
        place = "::".join(map(str, first["loc"][1:] or first["loc"]))
        raise CalibrationError(
            f"{path}: is no calibration of version 1 ({f'{place}: ' if place else ''}{first['msg']}); "
            "was it written by save_calibration, of this version of the package?"
        ) from error
    except ValueError as error:
        raise CalibrationError(f"{path}: holds no calibration: {error}") from error


def _map_of(region: _Map, index: int) -> MonotoneMap:
    try:
        return MonotoneMap(tuple(region.probability), tuple(region.calibrated))
    except ValueError as error:
        raise ValueError(f"regions::{index}: {error}") from error


def _shortest(values: list[float] | tuple[float, ...]) -> list[float]:
    """The shortest numbers that are the same in single precision."""
    return [float(f"{value:.9g}") for value in values]
