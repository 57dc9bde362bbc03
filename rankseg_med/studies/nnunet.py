"""What nnU-Net v2 leaves beside its predictions: ``dataset.json`` and ``plans.json``. Its pickles are never read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from rankseg_med.decode import RegionChannels
from rankseg_med.studies.errors import StudyError, check_regular_file, is_there


@dataclass(frozen=True)
class NnunetLabels:
    """What the channels of a folder of nnU-Net predictions are.

    Attributes:
        names: Foreground class or region by name, with its labels: what there is to score.
        channels: How many channels there are.
        regions: What each stands for, if the model predicts regions by sigmoid; None for classes by softmax.
    """

    names: dict[str, tuple[int, ...]]
    channels: int
    regions: RegionChannels | None


class _Dataset(BaseModel):
    labels: dict[str, int | list[int]]
    regions_class_order: list[int] | None = None


class _Plans(BaseModel):
    image_reader_writer: str = ""


_Form = TypeVar("_Form", bound=BaseModel)


def read_nnunet_labels(folder: Path) -> NnunetLabels | None:
    """Read ``dataset.json``, which ``nnUNetv2_predict`` copies into its output folder; None if it is not there.

    Raises:
        StudyError: The file is not nnU-Net's, or its ``regions_class_order`` does not fit its regions.
    """
    path = folder / "dataset.json"
    dataset = _read(path, _Dataset)
    if dataset is None:
        return None
    sets = {
        name: {value} if isinstance(value, int) else set(value)
        for name, value in dataset.labels.items()
        if name != "ignore"
    }
    names = {name: tuple(sorted(labels)) for name, labels in sets.items() if labels != {0}}
    if not any(len(labels) > 1 for labels in sets.values()):
        return NnunetLabels(names, len(set().union(*sets.values())), None)
    regions = tuple(names.values())
    order = dataset.regions_class_order
    if order is None or len(order) != len(regions):
        raise StudyError(f"{path}: regions_class_order must have a label for each region ({len(regions)}), got {order}")
    return NnunetLabels(names, len(regions), RegionChannels(regions, tuple(enumerate(order))))


def nnunet_reorients(folder: Path) -> bool:
    """Whether ``plans.json`` says that nnU-Net turned images first, so that arrays may lie otherwise than files.

    Raises:
        StudyError: The file is not nnU-Net's.
    """
    plans = _read(folder / "plans.json", _Plans)
    return plans is not None and plans.image_reader_writer.endswith("WithReorient")


def _read(path: Path, form: type[_Form]) -> _Form | None:
    if not is_there(path):
        return None
    check_regular_file(path)
    try:
        return form.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StudyError(f"{path}: is not nnU-Net's {path.name} ({error.errors()[0]['msg']})") from error
