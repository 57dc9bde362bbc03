"""The two sides of a comparison by case id: label maps as they were predicted, and as they should be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rankseg_med.studies.data_list import DATA_LIST_SUFFIXES
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.listing import list_studies
from rankseg_med.studies.study import Listing, Study


def find_predictions(source: Path) -> dict[str, Path]:
    """Case id to label map of what was predicted; no header is read.

    Args:
        source: a label map, a folder of label maps, or a pattern of them, see `find_studies`.

    Raises:
        StudyError: as `find_studies`, and if it is a data list, which has no predictions.
    """
    return by_case(list_predictions(source).all_sound())


def list_predictions(source: Path) -> Listing[Study]:
    """As `find_predictions`, each label map as a study's image, but faults do not stand in the way of the rest.

    Raises:
        StudyError: as `list_studies`, and if it is a data list, which has no predictions.
    """
    if _is_data_list(source):
        raise StudyError(
            f"{source}: is a data list, whose images and labels are no predictions; give the folder that the predicted "
            "label maps lie in"
        )
    return list_studies(source)


def find_references(source: Path, *, data_root: Path | None = None, fold: int | None = None) -> dict[str, Path]:
    """Case id to reference label map, from whatever names them; no header is read.

    Args:
        source: a label map, a folder of label maps, a pattern of them, or a data list (`.json`, `.csv`), whose labels
            are meant and not its images; see `find_studies`.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        fold: only the entries of a data list that are held out in this fold.

    Returns:
        At least one; an entry of a data list that has no label is left out.

    Raises:
        StudyError: as `find_studies`, and if no entry of a data list has a label.
    """
    return by_case(list_references(source, data_root=data_root, fold=fold).all_sound())


def list_references(source: Path, *, data_root: Path | None = None, fold: int | None = None) -> Listing[Study]:
    """As `find_references`, each label map as a study's image, but faults do not stand in the way of the rest.

    Raises:
        StudyError: as `list_studies`, and if no entry of a data list has a label.
    """
    listing = list_studies(source, data_root=data_root, fold=fold)
    if not _is_data_list(source):
        return listing
    labelled = [replace(study, image=study.label) for study in listing.studies if study.label is not None]
    if not labelled:
        raise StudyError(
            f"{source}: must name a label for at least one case, but none of its {len(listing.studies)} entries has "
            "one; in a .csv labels stand in the column label, in a .json at the entries under training"
        )
    return replace(listing, studies=labelled)


def by_case(studies: Iterable[Study]) -> dict[str, Path]:
    """Case id to label map of what was listed."""
    return {study.case_id: study.image for study in studies}


def _is_data_list(source: Path) -> bool:
    return source.suffix.lower() in DATA_LIST_SUFFIXES
