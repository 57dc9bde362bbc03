"""The ensemble of classifiers: the config of each, and their training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event

from monai.bundle import ConfigParser

from rankseg_med.configuration import Config, ConfigError
from rankseg_med.studies import Study, StudyError
from rankseg_med.training import LAST, RECORD, TrainingProgress, TrainingRecord, train_to_end


def number_of_classifiers(config: ConfigParser) -> int:
    """How many classifiers a config describes.

    Raises:
        ConfigError: It has none, or what should list them is no list.
    """
    classifiers = config.get("classifiers")
    if not isinstance(classifiers, list) or not classifiers:
        raise ConfigError(
            f"classifiers: must list one network at the least, got {classifiers!r}; take a config such as "
            "classify_lung_nodules, or lay classify over that of your data set"
        )
    return len(classifiers)


def classifier_config(config: ConfigParser, number: int) -> Config:
    """The config of one classifier's training.

    The others are no part of it, so that an ensemble may grow without training what is trained anew.

    Args:
        config: Of the ensemble.
        number: Which, from 0.
    """
    settings = copy.deepcopy(dict(config.get()))
    settings["network_def"] = settings.pop("classifiers")[number]
    settings.pop("explainer", None)
    return Config(settings)


def train_classifiers(
    config: ConfigParser,
    studies: Sequence[Study],
    folder: Path,
    *,
    seed: int = 0,
    stop: Event | None = None,
    on_start: Callable[[], None] = lambda: None,
    on_epoch: Callable[[int, TrainingProgress], None] = lambda number, progress: None,
) -> list[Path] | None:
    """Train the classifiers one after the other; what is trained stays as it is, what was interrupted goes on.

    Args:
        config: Config of the ensemble, as `load_config("train", ...)` reads it.
        studies: Images with their classes; labels of voxels are not looked at.
        folder: Folder of the trainings, each in a folder of its number.
        seed: Random seed of the first; each further one's is higher by one.
        stop: When set, the training in hand ends after the iteration under way.
        on_start: Called before the first iteration of each.
        on_epoch: Called after every epoch with the classifier's number.

    Returns:
        Their checkpoints; None if it was stopped before all were trained.

    Raises:
        ConfigError: The config has no classifiers.
        StudyError: A folder holds a training of other settings, images or classes, or of another length, or an image
            cannot be used.
    """
    images = [replace(study, label=None, weight=None) for study in studies]
    folders = [folder / str(number) for number in range(number_of_classifiers(config))]
    for number, output in enumerate(folders):
        _check_length(config, output)
        is_complete = train_to_end(
            classifier_config(config, number),
            images,
            [],
            output,
            seed=seed + number,
            stop=stop,
            on_start=on_start,
            on_epoch=lambda progress, number=number: on_epoch(number, progress),  # type: ignore[misc]
        )
        if not is_complete:
            return None
    return [output / LAST for output in folders]


def _check_length(config: ConfigParser, folder: Path) -> None:
    """A training may go on for more epochs; classifiers may not, since their explanations are on disk."""
    record = folder / RECORD
    if not record.exists():
        return
    then, now = int(TrainingRecord.read(record).config["epochs"]), int(config["epochs"])
    if then != now:
        raise StudyError(
            f"{folder}: this classifier was started with {then} epochs, and is now to have {now}; go on with {then} or "
            "take another output folder"
        )
