"""An nnU-Net results folder: every training case predicted by the one fold that has not seen it."""

from __future__ import annotations

import re
from pathlib import Path

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.nnunet import nnunet_reorients
from rankseg_med.studies.probability_files import Axes, ProbabilityStudy, list_probabilities, reoriented
from rankseg_med.studies.study import Fault, Listing

_FOLD = re.compile(r"fold_(\d+)")


def validation_folders(source: Path) -> list[Path]:
    """``fold_0/validation``, ``fold_1/validation``, ... of a results folder, by number; none if it is no such folder.

    ``fold_all`` is passed over: it was trained on the very cases that it predicts.
    """
    found = {int(match[1]): path for path in source.glob("fold_*/validation") if (match := _number(path))}
    return [found[number] for number in sorted(found)]


def find_validation(source: Path, images: Path | None = None, axes: Axes | None = None) -> list[ProbabilityStudy]:
    """As `find_probabilities`, of the validation cases of all folds of an nnU-Net results folder together.

    Args:
        source: Such as ``nnUNet_results/Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres``, after
            ``nnUNetv2_train ... --npz`` of each fold.
        images: Images that show where the grids are; see `find_probabilities`.
        axes: Order of the axes of arrays.

    Returns:
        The studies of all folds, sorted by case id; at least one.

    Raises:
        StudyError: As of `find_probabilities`, no fold was validated, or a case was validated by two folds.
    """
    folders = validation_folders(source)
    if not folders:
        raise StudyError(f"{source}: has no fold_<number>/validation; is it an nnU-Net results folder?")
    if axes is None and nnunet_reorients(source):
        raise reoriented(source)
    studies: dict[str, ProbabilityStudy] = {}
    faults: list[Fault[ProbabilityStudy]] = []
    for folder in folders:
        listing = list_probabilities(folder, images, axes)
        faults += listing.faults
        for study in listing.studies:
            if study.case_id in studies:
                other = studies[study.case_id].files[0]
                faults.append(Fault(study.case_id, f"{study.files[0]}: was validated by another fold too, {other}"))
            studies[study.case_id] = study
    return Listing(source, [studies[case_id] for case_id in sorted(studies)], faults).all_sound()


def _number(validation: Path) -> re.Match[str] | None:
    return _FOLD.fullmatch(validation.parent.name) if validation.is_dir() else None
