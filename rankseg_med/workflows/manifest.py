"""Making a data list from a folder of images and a folder of label maps."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rankseg_med.errors import InputError
from rankseg_med.studies import (
    LabelledEntry,
    Manifest,
    Study,
    StudyError,
    check_same_grid,
    find_references,
    find_studies,
    load_label_map,
    relative_path,
    split_channel,
)


def build_manifest(
    images: Path,
    labels: Path,
    output: Path,
    *,
    folds: int = 5,
    seed: int = 0,
    label_names: Mapping[int, str] | None = None,
    data_root: Path | None = None,
    channels: int | None = None,
    name: str | None = None,
) -> Manifest:
    """Pair two folders by case id, check every pair, deal the cases into folds and write the data list.

    Every label map is read, to learn which labels there are; of images only the header is. Folds depend on the case
    ids and the seed alone, and their sizes differ by at most one.

    Args:
        images: a folder of images, or whatever `find_studies` takes.
        labels: a folder of label maps, named as the images are but for the number of a channel, or whatever
            `find_references` takes.
        output: where the data list goes (`.json`).
        folds: in how many folds to deal the cases; at least 2, at most one a case.
        seed: random seed of the shuffle before dealing.
        label_names: label value to name; background need not be named. By default, `label_<value>` for every value
            that occurs.
        data_root: folder that the written paths are relative to; by default the folder of `output`.
        channels: how many images make a study in a folder or pattern, see `find_studies`.
        name: name of the data set; by default the file name of `output`.

    Returns:
        The manifest as written, its training entries sorted by case id.

    Raises:
        StudyError: if an image lacks a label map or a label map its image, if a pair cannot be read or differs in its
            grid, if a channel is missing, or if a label map has a value that `label_names` does not name. One error
            names them all.
        ValueError: if `output` is no `.json` file; if `folds` is less than 2 or more than there are cases.
        OSError: if the list cannot be written.
    """
    if output.suffix != ".json":
        raise InputError(f"{output}: a data list's name must end with .json")
    pairs, faults = _pair(images.resolve(), labels.resolve(), channels)
    values: set[int] = set()
    for study, label in pairs:
        if label in study.images:
            faults.append(f"{label}: is both image and label map of {study.case_id}; name two folders")
            continue
        try:
            for image in study.images:
                check_same_grid(image, label)
            found = {int(value) for value in np.unique(load_label_map(label).array)}
        except StudyError as error:
            faults.append(str(error))
            continue
        unnamed = found - {0} - set(label_names or found)
        if unnamed:
            faults.append(f"{label}: holds values without a name: {', '.join(map(str, sorted(unnamed)))}")
        values |= found
    if faults:
        raise StudyError(
            "\n- ".join([f"no data list written; faults found in {images} and {labels}: {len(faults)}", *faults])
        )

    names = {0: "background", **(label_names or {value: f"label_{value}" for value in values - {0}})}
    root = (output.parent if data_root is None else data_root).resolve()
    fold_of = deal_folds([study.case_id for study, _ in pairs], folds, seed)
    manifest = Manifest(
        name=output.stem if name is None else name,
        labels={str(value): names[value] for value in sorted(names)},
        training=[_entry(study, label, fold_of[study.case_id], root) for study, label in pairs],
    )
    manifest.write(output)
    return manifest


def _pair(images: Path, labels: Path, channels: int | None) -> tuple[list[tuple[Study, Path]], list[str]]:
    """Studies with their label maps, by case id, and a fault for each file without a partner."""
    study_of = {study.case_id: study for study in find_studies(images, channels=channels)}
    label_of = find_references(labels)
    pairs = [(study_of[case], label_of[case]) for case in sorted(study_of.keys() & label_of.keys())]
    faults = [
        f"{study.image}: has no label map in {labels}{_hint(case, label_of)}"
        for case, study in study_of.items()
        if case not in label_of
    ]
    faults += [f"{label}: has no image in {images}" for case, label in label_of.items() if case not in study_of]
    return pairs, faults


def _hint(case: str, label_of: Mapping[str, Path]) -> str:
    named = split_channel(case)
    return f", but {named[0]} has; say how many channels a study has" if named and named[0] in label_of else ""


def deal_folds(cases: list[str], folds: int, seed: int) -> dict[str, int]:
    """Shuffle case ids and deal them into folds like cards.

    Args:
        cases: in any order, which does not matter.
        folds: at least 2, at most one a case.
        seed: random seed of the shuffle.

    Returns:
        Case id to fold, from 0; sizes of folds differ by at most one.

    Raises:
        ValueError: if `folds` is less than 2 or more than there are cases.
    """
    if not 2 <= folds <= len(cases):
        raise InputError(f"folds must be at least 2 and at most the number of cases, {len(cases)}, got {folds}")
    shuffled = sorted(cases)
    random.Random(seed).shuffle(shuffled)
    return {case: position % folds for position, case in enumerate(shuffled)}


def _entry(study: Study, label: Path, fold: int, root: Path) -> LabelledEntry:
    images = [relative_path(image, root) for image in study.images]
    image = images if study.more_images else images[0]
    return LabelledEntry(id=study.case_id, image=image, label=relative_path(label, root), fold=fold)
