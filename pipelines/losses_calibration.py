"""How far the probabilities of a trained network can be taken at their word, on the test patients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankseg_med.calibration import BinnedVoxels, ReliabilityCounts, reliability
from rankseg_med.evaluation import NetworkCase, soft_dice
from rankseg_med.metrics import dice
from rankseg_med.studies import NnunetLabels, write_json

_FILE = "calibration.json"


@dataclass(frozen=True)
class Trust:
    """Calibration of a run; means over structures.

    Attributes:
        ece: Expected calibration error, each case weighing the same, as a fraction.
        promised: Case id to the Dice of argmax that the probabilities promise, see `soft_dice`.
        reached: Case id to its true Dice; no case without prediction and reference.
    """

    ece: float
    promised: dict[str, float]
    reached: dict[str, float]


def measure(cases: Sequence[NetworkCase], structures: NnunetLabels, output: Path) -> None:
    """Predict cases, and write what came of it into the folder of a run."""
    labels = [values[0] for values in structures.names.values()]
    counts, promised, reached = ReliabilityCounts.of_case(BinnedVoxels.empty(len(labels))), {}, {}
    for case in cases:
        probabilities, truth = case.probabilities(), case.reference()
        counts += ReliabilityCounts.of_case(BinnedVoxels.of_classes(probabilities, truth.long()))
        argmax, true = probabilities.argmax(0).numpy(), truth.numpy()
        found = [label for label in labels if (argmax == label).any() or (true == label).any()]
        if found:
            foretold = [soft_dice(probabilities[label].numpy(), argmax == label) for label in found]
            promised[case.case_id] = float(np.mean(foretold))
            reached[case.case_id] = float(np.mean([dice(argmax == label, true == label) for label in found]))
    ece = float(reliability(counts.weighted("cases")).ece.mean())
    write_json({"ece": ece, "promised": promised, "reached": reached}, output / _FILE)


def read_trust(run: Path) -> Trust:
    """What `measure` wrote into a run's folder."""
    return Trust(**json.loads((run / _FILE).read_text()))
