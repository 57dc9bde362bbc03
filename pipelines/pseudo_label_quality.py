"""How good a teacher's pseudo-labels are, measured on volumes whose labels training does not look at."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from rankseg_med.semisupervised import PseudoLabeller
from rankseg_med.semisupervised.pseudo_labels import PseudoDecoder
from rankseg_med.studies import Study

LABELLERS: tuple[PseudoDecoder, ...] = ("threshold", "argmax", "rankseg")


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


@torch.no_grad()
def pseudo_label_quality(
    config: ConfigParser, teacher: torch.nn.Module, studies: Sequence[Study]
) -> dict[str, dict[str, float]]:
    """Quality of each labeller's pseudo-labels, all of the same probabilities.

    Args:
        config: Of the training run.
        teacher: In eval mode.
        studies: With labels 1 and 2, which are one body.
    """
    preprocess, infer = config.get_parsed_content("preprocessing"), config.get_parsed_content("inferer")
    labellers = {name: PseudoLabeller(name, largest_component=[[1, 2]]) for name in LABELLERS}
    rows: dict[str, list[Quality]] = {name: [] for name in LABELLERS}
    for study in studies:
        item = preprocess({"image": study.image, "label": study.label})
        probabilities = infer(item["image"][None].as_tensor(), teacher)[0].float().softmax(0)
        truth = item["label"][0].as_tensor()
        for name, labeller in labellers.items():
            pseudo = labeller.label_volume(probabilities)
            expected = pseudo.expected_dice.tolist()
            rows[name] += [
                _quality(pseudo.label_map == label, probabilities[label], truth == label, expected[label - 1])
                for label in (1, 2)
            ]
    return {name: _mean(of_labeller) for name, of_labeller in rows.items()}


def _quality(found: torch.Tensor, probability: torch.Tensor, truth: torch.Tensor, expected_dice: float) -> Quality:
    n_found, n_truth = int(found.sum()), int(truth.sum())
    return Quality(
        dice=2 * int((found & truth).sum()) / (n_found + n_truth),
        expected_dice=expected_dice,
        volume_ratio=n_found / n_truth,
        probability_ratio=float(probability.double().sum()) / n_truth,
    )


def _mean(rows: Sequence[Quality]) -> dict[str, Any]:
    values: list[dict[str, float]] = [asdict(row) for row in rows]
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}
