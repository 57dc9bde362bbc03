"""The arms of the semi-supervised experiment, and their configs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from experiment import in_epochs

from rankseg_med.configuration import Config, load_config
from rankseg_med.decode import Presence

Changes: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """A way of training.

    Attributes:
        configs: Shipped configs, each over the one before, where ``{}`` stands for that of labels alone.
        all_labels: Whether it may look at every label: the ceiling.
        changes: What it changes in them, by whether structures are always there.
        self_training: Decoder by which the network of `LABELS_ALONE` labels the others' images once, whole, before the
            arm learns from all of them; by whether structures are always there. None: it does not.
    """

    configs: tuple[str, ...] = ("bcp_{}",)
    all_labels: bool = False
    changes: Callable[[Presence], Changes] = lambda presence: {}
    self_training: Callable[[Presence], Any] | None = None

    @property
    def learns_unlabelled(self) -> bool:
        """Whether it looks at images without labels while it trains."""
        return self.configs != _SUPERVISED


_SUPERVISED = ("{}",)
BY_TUNING = "tuned"
"""Stands for the decoder, and the calibration, that `tune` chose for the teacher on the validation patients."""
LABELS_ALONE, ALL_LABELS, PUBLISHED, SELF_TRAINING = "labels_alone", "all_labels", "published", "self_training"


def _labels_of(decoder: Any, **labeller: Any) -> dict[str, Any]:  # noqa: ANN401 - what a config holds
    """Pseudo-labels by a decoder, of a teacher without calibration."""
    options = {"decoder": decoder, "min_confidence": 0.0, **labeller}
    return {f"pseudo_labeller::{name}": value for name, value in options.items()} | {"teacher::calibration": None}


def _rankseg(coherence: float, presence: Presence) -> dict[str, Any]:
    decoder = "rankseg_med.decode.RankSEGDecoder"
    return {"_target_": decoder, "metric": "dice", "coherence": coherence, "presence": presence}


# Which the validation fits.
_OFTEN_VALIDATED = {"validate_every": 2}
_ISOTONIC = _OFTEN_VALIDATED | {
    "teacher::calibration": {
        "_target_": "rankseg_med.calibration.IsotonicCalibration",
        "num_classes": "@num_classes",
        "weighting": "cases",
    }
}
_TEMPERATURE = _OFTEN_VALIDATED | {
    "teacher::calibration": {"_target_": "rankseg_med.calibration.Temperature", "num_classes": "@num_classes"}
}
# The opening of copy-paste, labelled images on labelled ones, all along: what mixing does by itself.
_ALL_ON_LABELS = {"method::pretraining_iterations": "$@epochs * @iterations_per_epoch"}

ARMS = {
    LABELS_ALONE: Arm(_SUPERVISED),
    "mean_teacher": Arm(("{}", "mean_teacher")),
    "copy_paste_labelled": Arm(changes=lambda presence: _ALL_ON_LABELS | {"teacher::calibration": None}),
    PUBLISHED: Arm(changes=lambda presence: _labels_of("threshold")),
    "rankseg": Arm(changes=lambda presence: _labels_of(_rankseg(0.0, presence))),
    "coherent": Arm(changes=lambda presence: _labels_of(_rankseg(1.0, presence))),
    "rankseg_isotonic": Arm(changes=lambda presence: _labels_of(_rankseg(0.0, presence)) | _ISOTONIC),
    "coherent_isotonic": Arm(changes=lambda presence: _labels_of(_rankseg(1.0, presence)) | _ISOTONIC),
    "rankseg_temperature": Arm(changes=lambda presence: _labels_of(_rankseg(0.0, presence)) | _TEMPERATURE),
    "published_confident": Arm(changes=lambda presence: _labels_of("threshold", min_confidence=0.8)),
    "rankseg_confident": Arm(changes=lambda presence: _labels_of(_rankseg(0.0, presence), min_confidence=0.8)),
    "coherent_confident": Arm(changes=lambda presence: _labels_of(_rankseg(1.0, presence), min_confidence=0.8)),
    SELF_TRAINING: Arm(_SUPERVISED, self_training=lambda presence: "threshold"),
    "self_training_rankseg": Arm(_SUPERVISED, self_training=partial(_rankseg, 0.0)),
    "self_training_coherent": Arm(_SUPERVISED, self_training=partial(_rankseg, 1.0)),
    "self_training_tuned": Arm(_SUPERVISED, self_training=lambda presence: BY_TUNING),
    ALL_LABELS: Arm(_SUPERVISED, all_labels=True),
}

_PAD = {"_target_": "SpatialPadd", "spatial_size": "@roi_size"}
_CROP_ANYWHERE = {"_target_": "RandSpatialCropd", "keys": "image", "roi_size": "@roi_size", "random_size": False}
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "config": {},
    "crops": {
        "augmentation::transforms": [{**_PAD, "keys": ["image", "label"]}, "@crop"],
        "unlabelled_augmentation::transforms": [{**_PAD, "keys": "image"}, _CROP_ANYWHERE],
    },
}
"""``config``: as shipped, with affine maps, noise and contrast. ``crops``: random crops alone, as the published code of
bidirectional copy-paste has it for LA and pancreas."""


def config_of(name: str, base: str, presence: Presence, iterations: int, augmentation: str = "config") -> Config:
    """The config of an arm, cut into epochs that end with the iterations.

    Args:
        name: Name of the arm.
        base: Shipped config of training with labels alone.
        presence: Whether every image has every structure.
        iterations: How long it trains; rounded down to whole epochs.
        augmentation: Key of `AUGMENTATIONS`.
    """
    arm = ARMS[name]
    config = load_config("train", [overlay.format(base) for overlay in arm.configs], device="cpu")
    config.update(AUGMENTATIONS[augmentation])
    config.update(arm.changes(presence))
    return in_epochs(config, iterations)
