"""Which studies are trained on with labels, which without, and which validate."""

from __future__ import annotations

import random
from collections.abc import Sequence

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
    taken = {study.case_id for study in (*training, *validation)}
    rest = [study for study in studies if study.label is not None and study.case_id not in taken]
    return sorted(
        (Study(study.case_id, study.image, more_images=study.more_images) for study in rest),
        key=lambda study: study.case_id,
    )


def pseudo_labelled_studies(
    pseudo_labels: Sequence[Study], training: Sequence[Study], validation: Sequence[Study]
) -> list[Study]:
    """What a list of pseudo-labels adds to a training: not the studies that have labels of their own, nor the held out.

    Args:
        pseudo_labels: Studies of the list.
        training: Studies with labels.
        validation: Held out.

    Raises:
        StudyError: It adds none.
    """
    taken = {study.case_id for study in (*training, *validation)}
    added = [study for study in pseudo_labels if study.label is not None and study.case_id not in taken]
    if not added:
        raise StudyError(
            f"of the {len(pseudo_labels)} studies with pseudo-labels, each is trained on with its label, or validates; "
            "make pseudo-labels of others"
        )
    return sorted(added, key=lambda study: study.case_id)


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
