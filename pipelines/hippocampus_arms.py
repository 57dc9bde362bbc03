"""The arms of the hippocampus experiment, and their configs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monai.bundle import ConfigParser

from rankseg_med.configuration import load_config


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        config: Shipped config.
        all_labels: Whether it may look at every label.
        overrides: Of the config.
    """

    config: str
    all_labels: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)


FEW, ALL = "supervised_few", "supervised_all"
PUBLISHED, RANKSEG = "bcp_published", "bcp_rankseg"
PUBLISHED_CONFIDENT, RANKSEG_CONFIDENT = "bcp_published_confident", "bcp_rankseg_confident"
PUBLISHED_CALIBRATED, RANKSEG_CALIBRATED = "bcp_published_calibrated", "bcp_rankseg_calibrated"
RANKSEG_ISOTONIC = "bcp_rankseg_isotonic"

_THRESHOLD = {"pseudo_labeller::decoder": "threshold"}
_CONFIDENT = {"pseudo_labeller::min_confidence": 0.8}
_AS_IT_IS = {"teacher::calibration": None}
_ISOTONIC = {
    "teacher::calibration": {
        "_target_": "rankseg_med.calibration.IsotonicCalibration",
        "num_classes": "@num_classes",
        "weighting": "cases",
    }
}
ARMS = {
    FEW: Arm("hippocampus"),
    "mean_teacher": Arm("mean_teacher_hippocampus"),
    PUBLISHED: Arm("bcp_hippocampus", overrides=_THRESHOLD | _AS_IT_IS),
    RANKSEG: Arm("bcp_hippocampus", overrides=_AS_IT_IS),
    PUBLISHED_CONFIDENT: Arm("bcp_hippocampus", overrides=_THRESHOLD | _CONFIDENT | _AS_IT_IS),
    RANKSEG_CONFIDENT: Arm("bcp_hippocampus", overrides=_CONFIDENT | _AS_IT_IS),
    PUBLISHED_CALIBRATED: Arm("bcp_hippocampus", overrides=_THRESHOLD),
    RANKSEG_CALIBRATED: Arm("bcp_hippocampus"),
    RANKSEG_ISOTONIC: Arm("bcp_hippocampus", overrides=_ISOTONIC),
    ALL: Arm("hippocampus", all_labels=True),
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


def config_of(arm: Arm, iterations: int, augmentation: str = "config") -> ConfigParser:
    """The arm's config, cut into epochs that end with the iterations."""
    config = load_config("train", arm.config, device="cpu")
    config.update({**AUGMENTATIONS[augmentation], **arm.overrides})
    config["iterations_per_epoch"] = min(int(config["iterations_per_epoch"]), iterations)
    config["epochs"] = iterations // int(config["iterations_per_epoch"])
    return config
