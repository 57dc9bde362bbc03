"""Which studies are trained on with labels, which without, and which validate."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from rankseg_med.studies import Study, StudyError


def split_studies(
    studies: Sequence[Study], *, fold: int | None, labelled: int | Sequence[str] | None = None, seed: int = 0
) -> tuple[list[Study], list[Study]]:
    """Training and validation studies of a fold, the training ones optionally thinned out.

    Args:
        studies: Studies of a data list. Those without labels, such as its test images, are in neither part.
        fold: Held out for validation; None trains on everything and validates on nothing.
        labelled: Use only so many training studies, chosen by ``seed``, or those of these case ids; a larger number
            contains a smaller one's.
        seed: Random seed of that choice.

    Returns:
        ``(training, validation)``, sorted by case id.

    Raises:
        StudyError: No study is in the fold, fewer training studies are there than ``labelled``, or a case id of it is
            not one of theirs.
    """
    studies = sorted((study for study in studies if study.label is not None), key=lambda study: study.case_id)
    validation = [study for study in studies if fold is not None and study.fold == fold]
    training = [study for study in studies if study not in validation]
    folds = {study.fold for study in studies if study.fold is not None}
    if fold is not None and fold not in folds:
        raise StudyError(f"no study of the data list is in fold {fold}; folds: {sorted(folds)}")
    if labelled is not None:
        training = _drawn(training, labelled, seed) if isinstance(labelled, int) else _named(training, labelled)
    if not training:
        raise StudyError("the data list leaves no labelled study to train on")
    return training, validation


def unlabelled_studies(studies: Sequence[Study], training: Sequence[Study], validation: Sequence[Study]) -> list[Study]:
    """The rest of a data list's training studies, whose labels are not to be looked at.

    Args:
        studies: Studies of the data list. Those that have no labels there are its test images, and stay out.
        training: What `split_studies` chose of them, with labels.
        validation: What it held out.

    Returns:
        Sorted by case id, without labels; may be empty.
    """
    rest = [study for study in studies if study.label is not None]
    return without_labels(_beside(rest, (*training, *validation)))


def further_studies(given: Sequence[Study], taken: Sequence[Study]) -> list[Study]:
    """What another list adds to a training: the studies that have no use yet.

    Args:
        given: Studies of the other list, such as one of pseudo-labels.
        taken: Studies that are trained on already, validate, or are to be left alone. A study is one of these if it has
            the case id or an image file of one.

    Returns:
        Sorted by case id.

    Raises:
        StudyError: There is none.
    """
    added = _beside(given, taken)
    if not added:
        raise StudyError(
            f"each of the {len(given)} studies is among the data list's that are trained on, that validate, or that "
            "are its test images; give others"
        )
    return added


def without_labels(studies: Sequence[Study]) -> list[Study]:
    """The same studies, with nothing that tells what their images show."""
    return [replace(study, label=None, fold=None, weight=None, image_class=None) for study in studies]


def check_unlabelled(unlabelled: Sequence[Study], training: Sequence[Study], validation: Sequence[Study]) -> None:
    """Make sure that unlabelled studies are not trained on with labels as well, and do not validate.

    Raises:
        StudyError: Some are or do; it names them.
    """
    apart = {study.case_id for study in _beside(unlabelled, (*training, *validation))}
    if both := sorted(study.case_id for study in unlabelled if study.case_id not in apart):
        raise StudyError(
            f"unlabelled studies must not be among those with labels nor among those that validate, but these are: "
            f"{', '.join(both)}"
        )


def _beside(studies: Sequence[Study], taken: Sequence[Study]) -> list[Study]:
    """Those that are none of the taken ones, by case id and by image file, sorted by case id."""
    ids = {study.case_id for study in taken}
    files = {image.resolve() for study in taken for image in study.images}
    apart = [
        study
        for study in studies
        if study.case_id not in ids and files.isdisjoint(image.resolve() for image in study.images)
    ]
    return sorted(apart, key=lambda study: study.case_id)


def _drawn(training: list[Study], number: int, seed: int) -> list[Study]:
    if not 1 <= number <= len(training):
        raise StudyError(f"asked for {number} labelled studies, the data list has {len(training)} to train on")
    shuffled = training.copy()
    random.Random(seed).shuffle(shuffled)
    return sorted(shuffled[:number], key=lambda study: study.case_id)


def _named(training: list[Study], case_ids: Sequence[str]) -> list[Study]:
    strangers = sorted(set(case_ids) - {study.case_id for study in training})
    if strangers:
        raise StudyError(f"these are not among the studies to train on (is one held out?): {', '.join(strangers)}")
    return [study for study in training if study.case_id in case_ids]
