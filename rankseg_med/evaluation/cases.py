"""Cases with probabilities and a reference: what decoding is tuned and tried on."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from rankseg_med.evaluation.patients import read_patients
from rankseg_med.studies import (
    Axes,
    Grid,
    ProbabilityStudy,
    ProbabilityVolume,
    StudyError,
    compare_grids,
    find_probabilities,
    find_references,
    find_studies,
    find_validation,
    grid_of,
    load_label_map,
    open_probabilities,
    read_grid,
    validation_folders,
)


@runtime_checkable
class LabelledCase(Protocol):
    """A case whose truth is known; volumes are read, or predicted, whenever they are asked for."""

    @property
    def case_id(self) -> str:
        """Unique."""

    @property
    def patient(self) -> str:
        """Whom it is of."""

    def probabilities(self) -> Float[Tensor, "channels X Y Z"]:
        """What the network says, uncalibrated, on the grid of the reference."""

    def reference(self) -> UInt8[Tensor, "X Y Z"]:
        """The label map as it should be."""


class DecodableCase(LabelledCase, Protocol):
    """A case of which a volume can be read slab by slab, and label maps shown."""

    @property
    def source(self) -> Path:
        """File that errors name."""

    @property
    def grid(self) -> Grid:
        """Where the voxels of probabilities and reference lie."""

    @property
    def image(self) -> Path | None:
        """What the network saw (of several images the first), where it is known."""

    def opened(self) -> AbstractContextManager[ProbabilityVolume]:
        """The probabilities, while the context lasts."""


@dataclass(frozen=True)
class Case:
    """One case; it names files alone, and a volume is read whenever it is asked for.

    Attributes:
        study: Its stored probabilities.
        reference_file: Its label map as it should be, on the same grid.
        patient: Whom it is of.
        image: What the network saw (of several images the first), where it is known.
    """

    study: ProbabilityStudy
    reference_file: Path
    patient: str
    image: Path | None = None

    @property
    def case_id(self) -> str:
        """Unique within what was found."""
        return self.study.case_id

    @property
    def source(self) -> Path:
        """First file of the probabilities."""
        return self.study.files[0]

    @property
    def grid(self) -> Grid:
        """Where the voxels lie; a header is read."""
        return grid_of(self.study)

    def opened(self) -> AbstractContextManager[ProbabilityVolume]:
        """The probabilities, to be read slab by slab; see `open_probabilities`."""
        return open_probabilities(self.study)

    def probabilities(self) -> Float32[Tensor, "channels X Y Z"]:
        """The probabilities as they are stored, whole; decoders look whether they are any.

        Raises:
            StudyError: The files cannot be used; see `open_probabilities`.
        """
        with self.opened() as volume:
            probabilities = torch.empty(volume.shape)
            for slab, values in volume.slabs():
                probabilities.narrow(1 + volume.axis, slab.start, slab.stop - slab.start).copy_(values)
        return probabilities

    def reference(self) -> UInt8[Tensor, "X Y Z"]:
        """The label map as it should be.

        Raises:
            StudyError: The file cannot be used; see `load_label_map`.
        """
        return read_reference(self.reference_file)


def read_reference(file: Path) -> UInt8[Tensor, "X Y Z"]:
    """A label map as a plain tensor.

    Raises:
        StudyError: The file cannot be used; see `load_label_map`.
    """
    label_map: Tensor = load_label_map(file).as_tensor()[0]
    return label_map


def find_cases(
    probabilities: Path,
    references: Path,
    *,
    images: Path | None = None,
    axes: Axes | None = None,
    data_root: Path | None = None,
    fold: int | None = None,
    patients: str | None = None,
) -> list[Case]:
    """Pair stored probabilities with references; headers alone are read.

    Args:
        probabilities: Probabilities of cases that the network was not trained on: a file or folder, see
            `find_probabilities`, or an nnU-Net results folder, of which every fold's validation cases are taken, see
            `find_validation`.
        references: Folder of label maps, a pattern, one file, or a data list whose labels are meant; see
            `find_references`.
        images: Images that show where arrays lie, see `find_probabilities`; they are also what pictures show.
        axes: Order of the axes of arrays, see `find_probabilities`.
        data_root: What a data list's paths are relative to; by default the list's own folder.
        fold: Only the cases of a data list that are held out in this fold; probabilities of its others are passed over.
        patients: CSV file or regular expression that says which cases are of one patient, see `read_patients`; None
            takes every case for a patient of its own.

    Returns:
        The cases, sorted by case id; at least one.

    Raises:
        StudyError: Either side cannot be used or has a case that the other lacks; all of these are named.
        GridError: A reference is on another grid than its probabilities.
        ValueError: A case has no patient.
    """
    find = find_validation if validation_folders(probabilities) else find_probabilities
    expected = find_references(references, data_root=data_root, fold=fold)
    studies = {study.case_id: study for study in find(probabilities, images, axes)}
    if fold is not None:
        others = {study.case_id for study in find_studies(references, data_root=data_root)} - expected.keys()
        studies = {case_id: study for case_id, study in studies.items() if case_id not in others}
    _check_both(probabilities, studies.keys(), references, expected.keys())
    for case_id, study in studies.items():
        reference = expected[case_id]
        compare_grids(study.grid or study.files[0], grid_of(study), reference, read_grid(reference))
    patient_of = {case_id: case_id for case_id in studies} if patients is None else read_patients(patients, studies)
    return [
        Case(study, expected[case_id], patient_of[case_id], study.image) for case_id, study in sorted(studies.items())
    ]


def _check_both(probabilities: Path, found: Collection[str], references: Path, expected: Collection[str]) -> None:
    lacking = [
        f"{source}: has none of {', '.join(sorted(missing))}"
        for source, missing in ((probabilities, set(expected) - set(found)), (references, set(found) - set(expected)))
        if missing
    ]
    if lacking:
        raise StudyError(
            "every case must have probabilities and a reference, paired by case id, but\n- " + "\n- ".join(lacking)
        )
