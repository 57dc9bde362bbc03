"""How good a teacher's pseudo-labels are, measured on volumes whose labels training does not look at."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from hippocampus_predictions import predictions
from monai.bundle import ConfigParser

from rankseg_med.metrics import Scoring, label_regions, score_label_maps
from rankseg_med.semisupervised import PseudoDecoder, PseudoLabeller
from rankseg_med.studies import Study

LABELLERS: tuple[PseudoDecoder, ...] = ("threshold", "argmax", "rankseg")
_VOXEL_ML = 1e-3


@dataclass(frozen=True)
class Quality:
    """Of one kind of pseudo-label; means over volumes and both labels.

    Attributes:
        dice: With the truth, in [0, 1].
        expected_dice: What the teacher's probabilities promise, in [0, 1]; above ``dice``: overconfident.
        volume_ratio: Voxels of the pseudo-label by voxels of the truth.
        probability_ratio: Sum of the probabilities by voxels of the truth: 1 where they are right on the whole.
    """

    dice: float
    expected_dice: float
    volume_ratio: float
    probability_ratio: float


def pseudo_label_quality(
    config: ConfigParser, teacher: torch.nn.Module, studies: Sequence[Study]
) -> dict[str, dict[str, float]]:
    """Quality of each labeller's pseudo-labels, all of the same probabilities.

    Args:
        config: Of the training run.
        teacher: In eval mode.
        studies: With labels 1 and 2 in each, which are one body.
    """
    regions = label_regions({1: "anterior", 2: "posterior"})
    labellers = {name: PseudoLabeller(name, largest_component=[[1, 2]]) for name in LABELLERS}
    rows: dict[str, list[Quality]] = {name: [] for name in LABELLERS}
    for _, probabilities, truth in predictions(config, teacher, studies):
        summed = probabilities[1:].double().sum((1, 2, 3)).tolist()
        for name, labeller in labellers.items():
            pseudo = labeller.label_volume(probabilities)
            scores = score_label_maps(pseudo.label_map.numpy(), truth, regions, (1.0, 1.0, 1.0), Scoring(("dice",)))
            rows[name] += [
                Quality(
                    dice=row.values["dice"],
                    expected_dice=expected,
                    volume_ratio=row.prediction_volume_ml / row.reference_volume_ml,
                    probability_ratio=probability * _VOXEL_ML / row.reference_volume_ml,
                )
                for row, expected, probability in zip(scores, pseudo.expected_dice.tolist(), summed, strict=True)
            ]
    return {name: _mean([asdict(row) for row in of_labeller]) for name, of_labeller in rows.items()}


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
