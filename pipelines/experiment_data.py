"""Data sets of the experiments: studies, patients, and who is trained on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankseg_med.decode import Presence
from rankseg_med.studies import Study, find_studies


@dataclass(frozen=True)
class ExperimentData:
    """A folder with ``images/`` and ``labels/``.

    Attributes:
        config: Shipped config of training with labels alone; that of copy-paste has ``bcp_`` before its name.
        presence: Whether every image has every structure.
        iterations: Length of every run.
        test: How many patients are scored in the end; none where ``split.json`` names them.
        validation: How many patients tune and calibrate.
        labelled: How many patients of the others keep their labels.
        patient_of: Case id to patient.
    """

    config: str
    presence: Presence
    iterations: int
    test: int
    validation: int
    labelled: int
    patient_of: Callable[[str], str] = str


def _patient_of_nodule(case_id: str) -> str:
    return case_id.split("_R_")[0]


DATA_SETS = {
    "hippocampus": ExperimentData("hippocampus", "always", 1500, 60, 20, 6),
    # A fifth of 371 patients each; 5 % of the other 223 have labels.
    "lung_nodules": ExperimentData("lung_nodules", "always", 1500, 74, 74, 11, _patient_of_nodule),
    "sarcoma_pet": ExperimentData("sarcoma_pet", "always", 1000, 11, 8, 8),
    # The published test patients; those that tune are taken from the published training patients.
    "left_atrium": ExperimentData("left_atrium", "always", 17000, 0, 16, 8),
    "left_atrium_small": ExperimentData("left_atrium_small", "always", 1000, 0, 16, 8),
}
"""Data sets by name; of the left atria as published, which needs a GPU, and small."""


@dataclass(frozen=True)
class Split:
    """Studies by use; no patient is in two of them. All have a label.

    Attributes:
        labelled: Trained on with their labels.
        unlabelled: Trained on without them.
        validation: Decoders are tuned, and teachers calibrated, on these.
        test: Scored once.
    """

    labelled: tuple[Study, ...]
    unlabelled: tuple[Study, ...]
    validation: tuple[Study, ...]
    test: tuple[Study, ...]


def split_of(data_set: ExperimentData, folder: Path, seed: int, labelled: int) -> Split:
    """Deal the patients out.

    Args:
        data_set: What it is.
        folder: Where it lies.
        seed: Random seed of the deal: another one has other patients in every part.
        labelled: How many patients keep their labels; fewer are a part of more.
    """
    found = find_studies(folder / "images")
    studies = [Study(study.case_id, study.image, folder / "labels" / study.image.name) for study in found]
    patients = sorted({data_set.patient_of(study.case_id) for study in studies})
    published = folder / "split.json"
    test = set(json.loads(published.read_text())["test"] if published.exists() else ())
    others = [patient for patient in patients if patient not in test]
    random.Random(seed).shuffle(others)
    if not test:
        test, others = set(others[: data_set.test]), others[data_set.test :]
    validation, pool = others[: data_set.validation], others[data_set.validation :]
    if not 0 < labelled <= len(pool):
        raise ValueError(f"labelled must be 1 to {len(pool)} patients, got {labelled}")

    def of(wanted: Sequence[str] | set[str]) -> tuple[Study, ...]:
        return tuple(study for study in studies if data_set.patient_of(study.case_id) in set(wanted))

    return Split(of(pool[:labelled]), of(pool[labelled:]), of(validation), of(test))
