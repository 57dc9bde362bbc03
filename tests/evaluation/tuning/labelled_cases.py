"""Made populations whose best setting is known."""

from dataclasses import dataclass

import numpy as np
import torch

from rankseg_med.evaluation.tuning.task import Task
from rankseg_med.studies import NnunetLabels

ONE = Task(NnunetLabels({"lesion": (1,)}, 2, None))


@dataclass(frozen=True)
class MadeCase:
    case_id: str
    patient: str
    foreground: np.ndarray
    truth: np.ndarray

    def probabilities(self):
        foreground = torch.from_numpy(self.foreground.astype(np.float32))
        return torch.stack([1 - foreground, foreground])

    def reference(self):
        return torch.from_numpy(self.truth.astype(np.uint8))


def made(population, cases, *, per_patient=1, seed=0):
    """Cases of a population, which gets a random generator and numbers that are spread evenly over (0, 1)."""
    rng = np.random.default_rng(seed)
    found = []
    for number, even in enumerate(rng.permutation((np.arange(cases) + 0.5) / cases)):
        foreground, truth = population(rng, even)
        found.append(MadeCase(f"case{number:03}", f"patient{number // per_patient:03}", foreground, truth))
    return found


def levels(*pairs):
    """Probabilities of so many voxels each, and background, as a volume."""
    values = np.concatenate([np.full(count, value) for value, count in pairs])
    return np.concatenate([values, np.zeros(2000 - len(values))]).reshape(20, 10, 10)


def overconfident(rng, even):
    """A core that is true in 6 of 10 voxels and a rim in 1 of 10; the network says 0.99 and 0.6. Only maps that take
    0.6 to 0.1, which no temperature does, leave the rim out."""
    size = 0.7 + 0.6 * even
    core, rim = int(200 * size), int(500 * size)
    stored, true = levels((0.99, core), (0.6, rim)), levels((0.6, core), (0.1, rim))
    return stored, rng.random(true.shape) < true


def coherent(rng, even):
    """The truth is a level set of what falls off slowly, larger or smaller as a whole; the network says less than half
    of it, so that argmax finds nothing."""
    likely = levels(*((p, 40 + int(1 / p**1.2)) for p in np.linspace(1, 0.05, 20)))
    return 0.45 * likely, likely > even


def calibrated_core(rng, even):
    """A core of one half and a bit, nothing else: every rule keeps it."""
    probabilities = levels((0.9, int(300 * (0.7 + 0.6 * even))))
    return probabilities, rng.random(probabilities.shape) < probabilities
