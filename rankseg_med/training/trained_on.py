"""The studies that a network was trained on."""

from __future__ import annotations

from pathlib import Path

from rankseg_med.studies import Study, StudyError
from rankseg_med.training.record import RECORD, TrainingRecord


def studies_trained_on(folder: Path) -> tuple[list[Study], list[Study]]:
    """Labelled and unlabelled studies of a training, by its record, without their labels.

    Args:
        folder: Folder of the run.

    Raises:
        StudyError: It has no record, or the training has no unlabelled studies.
    """
    try:
        record = TrainingRecord.read(folder / RECORD)
    except OSError as error:
        raise StudyError(
            f"{folder / RECORD}: cannot be read ({error.strerror}); name the output folder of a training"
        ) from error
    if not record.unlabelled:
        raise StudyError(f"{folder}: its training has no unlabelled studies; take one of a config with a method")
    labelled = [study.study(labelled=True) for study in record.training]
    return labelled, [study.study(labelled=False) for study in record.unlabelled]
