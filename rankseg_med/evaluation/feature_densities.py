"""Whether a network sees labelled and unlabelled images alike: densities of its features, class by class."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from rankseg_med.configuration import Config
from rankseg_med.inference import InferenceError, SegmentationModel, class_features
from rankseg_med.report import TextTable, as_csv, save_densities
from rankseg_med.studies import Study, StudyError, write_text
from rankseg_med.workflows import PredictJob

_log = logging.getLogger(__name__)

Group = Mapping[str, Float64[np.ndarray, "classes features"]]
"""Case id to a network's mean features of each class, NaN where it finds none."""


@dataclass(frozen=True)
class FeatureDensities:
    """What was drawn.

    Attributes:
        structures: Those that have a panel.
        left_out: Structures that are found in fewer than two images of a group.
        failed: Case id to why the study cannot be used.
    """

    structures: tuple[str, ...]
    left_out: tuple[str, ...]
    failed: Mapping[str, str]


def write_feature_densities(
    config: Config,
    checkpoint: Path,
    groups: Mapping[str, Sequence[Study]],
    figure: Path,
    *,
    on_study: Callable[[], None] = lambda: None,
) -> FeatureDensities:
    """Draw, for each class, the density of images along the direction in which its features differ most.

    As in the paper on bidirectional copy-paste (Bai et al., CVPR 2023), figure 2. Of each image, features before the
    last layer are averaged over the voxels that the network takes for the class (`class_features`); the first
    principal component over all images of all groups makes one number of them.

    Args:
        config: Config of an inference job.
        checkpoint: Weights.
        groups: Name to studies, such as labelled and unlabelled; their labels are not looked at.
        figure: PNG or PDF to write. The numbers go to a file beside it that is named alike, ``.csv``.
        on_study: Called after each study.

    Raises:
        StudyError: No class is found in two images of each group.
        CheckpointError: The checkpoint cannot be used.
    """
    model = PredictJob(config, [checkpoint], figure.parent).prediction().model
    if not isinstance(model, SegmentationModel):
        raise TypeError(f"a network must give logits, got {type(model).__name__}")
    failed: dict[str, str] = {}
    features: dict[str, Group] = {}
    for group, studies in groups.items():
        found: dict[str, Float64[np.ndarray, "classes features"]] = {}
        for study in studies:
            try:
                image = model.preprocess(study.images).as_tensor()
                found[study.case_id] = class_features(image, model.networks[0], model.inferer, model.num_classes)
            except (StudyError, InferenceError) as error:
                _log.error("%s: %s", study.case_id, error)
                failed[study.case_id] = str(error)
            on_study()
        features[group] = found
    names = list(config["label_names"])
    panels = {name: projected(features, label) for label, name in enumerate(names) if label}
    drawn = {name: panel for name, panel in panels.items() if _can_be_drawn(panel)}
    if not drawn:
        first = f" ({next(iter(failed.values()))})" if failed else ""
        raise StudyError(f"no class is found in two images of each of {', '.join(groups)}; nothing was written{first}")
    write_text(as_csv(_table(drawn)), figure.with_suffix(".csv"))
    numbers = {name: {group: np.array([*of.values()]) for group, of in panel.items()} for name, panel in drawn.items()}
    save_densities(figure, numbers, axis="first principal component of features")
    return FeatureDensities(tuple(drawn), tuple(name for name in panels if name not in drawn), failed)


def projected(groups: Mapping[str, Group], label: int) -> dict[str, dict[str, float]]:
    """Group to case id to the first principal component of a class's features, without images that lack the class.

    The component's largest coefficient is positive, so that the same features give the same numbers everywhere.
    """
    cases = [
        (group, case_id, of[label])
        for group, found in groups.items()
        for case_id, of in found.items()
        if np.isfinite(of[label]).all()
    ]
    values: dict[str, dict[str, float]] = {group: {} for group in groups}
    if cases:
        rows = np.stack([row for _, _, row in cases])
        centred = rows - rows.mean(0)
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        direction = direction * np.sign(direction[np.abs(direction).argmax()])
        for (group, case_id, _), value in zip(cases, centred @ direction, strict=True):
            values[group][case_id] = float(value)
    return values


def _can_be_drawn(panel: Mapping[str, Mapping[str, float]]) -> bool:
    return all(len(set(of.values())) >= 2 for of in panel.values())


def _table(panels: Mapping[str, Mapping[str, Mapping[str, float]]]) -> TextTable:
    rows = [
        (structure, group, case_id, repr(value))
        for structure, panel in panels.items()
        for group, of in panel.items()
        for case_id, value in of.items()
    ]
    return TextTable("", ("structure", "group", "case_id", "first_component"), tuple(rows), numbers_from=3)
