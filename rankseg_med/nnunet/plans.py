"""``dataset.json`` and ``plans.json`` of a trained model, read and checked before nnU-Net sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med.nnunet.allowed import READERS, check_configuration, check_name
from rankseg_med.nnunet.errors import NnunetError
from rankseg_med.studies import NnunetLabels, check_regular_file, read_nnunet_labels

_MAX_LABEL = 255


class _Dataset(BaseModel):
    model_config = ConfigDict(extra="allow")
    labels: dict[str, int | list[int]]
    channel_names: dict[str, str] | None = None
    modality: dict[str, str] | None = None  # as nnU-Net v1 calls it


class _Plans(BaseModel):
    model_config = ConfigDict(extra="allow")
    configurations: dict[str, dict[str, Any]]
    image_reader_writer: str
    transpose_forward: list[int]
    transpose_backward: list[int]
    label_manager: str = "LabelManager"


_Form = TypeVar("_Form", bound=BaseModel)


@dataclass(frozen=True)
class Plans:
    """What a trained model expects and how nnU-Net builds it; names nothing but nnU-Net's own parts.

    Attributes:
        plans: Content of ``plans.json`` with one configuration, which inherits nothing any more.
        dataset: Content of ``dataset.json``.
        configuration: That configuration's name.
        labels: What the network's channels are.
        num_images: Images of a study.
        reorients: Whether nnU-Net turns images to RAS before anything else.
        by_itk: Whether it reads images by ITK, or else by nibabel.
        transpose_forward: Which of an image's axes (Z, Y, X) each axis of the network's volume is.
    """

    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    configuration: str
    labels: NnunetLabels
    num_images: int
    reorients: bool
    by_itk: bool
    transpose_forward: tuple[int, ...]

    @classmethod
    def read(cls, folder: Path, configuration: str) -> Plans:
        """Read both files of a model's folder; nothing that they name is imported.

        Args:
            folder: The model's folder.
            configuration: Which of the plans' configurations the model was trained with.

        Raises:
            NnunetError: A file is not nnU-Net's, has no such configuration, names a class or function that is not
                allowed (see `check_configuration`), or describes something that cannot be run here.
            StudyError: A file is missing or cannot be read, or its regions do not fit their order.
        """
        plans, dataset = _read(folder / "plans.json", _Plans), _read(folder / "dataset.json", _Dataset)
        where = f"{folder / 'plans.json'}: {configuration}"
        check_name(plans.image_reader_writer, READERS, f"{folder / 'plans.json'}: image_reader_writer")
        check_name(plans.label_manager, ("LabelManager",), f"{folder / 'plans.json'}: label_manager")
        forward, backward = plans.transpose_forward, plans.transpose_backward
        if sorted(forward) != [0, 1, 2] or [forward[axis] for axis in backward] != [0, 1, 2]:
            raise NnunetError(
                f"{folder / 'plans.json'}: transpose_forward and transpose_backward must order three axes, one the "
                f"other way round, got {forward} and {backward}"
            )
        try:
            own = _with_inherited(plans.configurations, configuration, where)
            check_configuration(own, where)
            spacing, patch = own["spacing"], own["patch_size"]
            if len(spacing) not in (2, 3) or len(spacing) != len(patch) or not min(*spacing, *patch) > 0:
                raise NnunetError(
                    f"{where}: spacing and patch_size must be two or three positive numbers, got {spacing} and {patch}"
                )
        except (KeyError, TypeError, AttributeError) as error:
            raise NnunetError(
                f"{where}: is not nnU-Net's plan of a network ({type(error).__name__} {error})"
            ) from error
        channels = dataset.channel_names or dataset.modality or {}
        if not channels:
            raise NnunetError(f"{folder / 'dataset.json'}: must have channel_names, an image of a study each, got none")
        return cls(
            {**plans.model_dump(), "configurations": {configuration: own}},
            dataset.model_dump(exclude_none=True),
            configuration,
            _labels(folder),
            len(channels),
            plans.image_reader_writer.endswith("WithReorient"),
            plans.image_reader_writer.startswith("SimpleITK"),
            tuple(forward),
        )

    @property
    def own(self) -> Mapping[str, Any]:
        """The configuration."""
        own: Mapping[str, Any] = self.plans["configurations"][self.configuration]
        return own


def _read(path: Path, form: type[_Form]) -> _Form:
    check_regular_file(path)
    try:
        return form.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise NnunetError(f"{path}: is not nnU-Net's {path.name} ({place}: {first['msg']})") from error


def _labels(folder: Path) -> NnunetLabels:
    labels = read_nnunet_labels(folder)
    assert labels is not None  # the file was just read
    values = sorted({value for named in labels.names.values() for value in named})
    if values[-1:] > [_MAX_LABEL] or (labels.regions is None and values != list(range(1, labels.channels))):
        raise NnunetError(
            f"{folder / 'dataset.json'}: labels must be 0, 1, 2, ... without a gap, up to {_MAX_LABEL}, got {values}"
        )
    return labels


def _with_inherited(configurations: Mapping[str, dict[str, Any]], name: str, where: str) -> dict[str, Any]:
    """A configuration and what those that it inherits from say where it says nothing."""
    own: dict[str, Any] = {}
    followed: list[str] = []
    heir: str | None = name
    while heir is not None:
        if heir not in configurations or heir in followed:
            raise NnunetError(
                f"{where}: must be one of the configurations {', '.join(configurations)}, or inherit from one, got "
                f"{' from '.join([*followed, str(heir)])}"
            )
        followed.append(heir)
        own = {**configurations[heir], **own}
        heir = configurations[heir].get("inherits_from")
    own.pop("inherits_from", None)
    return own
