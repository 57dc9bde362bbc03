"""First reading of the cases: what calibrations are fitted to, summed up fold by fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from rankseg_med.calibration import (
    BinnedVoxels,
    Calibration,
    IsotonicCalibration,
    LabelledVoxels,
    ReliabilityCounts,
    Temperature,
    draw_voxels,
)
from rankseg_med.errors import InputError
from rankseg_med.evaluation.cases import LabelledCase
from rankseg_med.evaluation.tuning.settings import CalibrationName
from rankseg_med.evaluation.tuning.task import Task
from rankseg_med.threads import one_thread

_VOXELS_OF_A_CLASS = 1 << 18
"""Drawn of all cases together, for a temperature."""
_MOST_OF_A_CASE = 1 << 16


@dataclass(frozen=True)
class Observed:
    """What is kept of one case, as arrays: tensors between processes take a file handle each.

    Attributes:
        counts: Voxels by bin; see `BinnedVoxels`.
        voxels: Logits, labels and weights of a draw; None for independent channels, which have no temperature.
    """

    counts: Float64[np.ndarray, "three regions bins"]
    voxels: tuple[np.ndarray, np.ndarray, np.ndarray] | None


def observe(case: LabelledCase, task: Task, cases: int, seed: int) -> Observed:
    """Read one of so many cases.

    Raises:
        ValueError: Something else than probabilities, or labels that are no classes.
    """
    probabilities, reference = case.probabilities(), case.reference()
    with one_thread():
        counts = to_array(task.count(probabilities, reference))
        if task.independent:
            return Observed(counts, None)
        share = min(_MOST_OF_A_CASE, max(1, _VOXELS_OF_A_CLASS // cases))
        drawn = draw_voxels(probabilities, reference.long(), per_class=share, seed=seed)
    logits = drawn.logits.clamp(min=torch.finfo(torch.float32).tiny).log()
    return Observed(counts, (logits.numpy(), drawn.labels.numpy(), drawn.weights.numpy()))


@dataclass(frozen=True)
class Evidence:
    """Sums over the cases of some patients; memory does not grow with their number.

    Attributes:
        cases: How many.
        counts: Counts of all their voxels.
        voxels: Drawn voxels, for a temperature; draws get smaller where there are more cases.
    """

    cases: int
    counts: ReliabilityCounts
    voxels: tuple[LabelledVoxels, ...]

    @classmethod
    def empty(cls, regions: int) -> Evidence:
        """Evidence of no case."""
        return cls(0, ReliabilityCounts.of_case(BinnedVoxels.empty(regions)), ())

    @classmethod
    def of(cls, observed: Observed) -> Evidence:
        """Evidence of one case."""
        voxels = () if observed.voxels is None else (LabelledVoxels(*map(torch.from_numpy, observed.voxels)),)
        return cls(1, ReliabilityCounts.of_case(to_counts(observed.counts)), voxels)

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(self.cases + other.cases, self.counts + other.counts, self.voxels + other.voxels)

    @property
    def cases_with(self) -> list[int]:
        """How many cases have each structure."""
        return [int(number) for number in self.counts.cases]

    @property
    def presence(self) -> tuple[bool, ...]:
        """Whether every case has each structure."""
        return tuple(number == self.cases for number in self.cases_with)


def fit(name: CalibrationName, evidence: Evidence, task: Task) -> Calibration:
    """A calibration of that name.

    Raises:
        ValueError: A structure that no case has, or channels that it is not defined for; see `Calibration.fit`.
    """
    channels = task.structures.channels
    calibration: Calibration
    if name == "temperature":
        if task.independent:
            raise InputError("a temperature is of exclusive classes, and these channels are regions by sigmoid")
        calibration = Temperature(channels, class_biases=False)
        calibration.fit(LabelledVoxels.joined(evidence.voxels))
    else:
        regions = None if task.independent else task.regions
        calibration = IsotonicCalibration(
            channels,
            regions,
            independent=task.independent,
            weighting="cases" if name == "isotonic by cases" else "voxels",
        )
        calibration.fit(evidence.counts)
    return calibration


def to_array(counts: BinnedVoxels) -> Float64[np.ndarray, "three regions bins"]:
    """Counts as one array."""
    return np.stack([part.numpy() for part in (counts.voxels, counts.positive, counts.mass)])


def to_counts(array: Float64[np.ndarray, "three regions bins"]) -> BinnedVoxels:
    """Counts of an array."""
    return BinnedVoxels(*torch.from_numpy(array))
