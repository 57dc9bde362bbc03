"""From what a user points at (a file, a folder, a pattern, a data list) to the studies that it stands for."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rankseg_med.studies.bids.dataset import is_dataset
from rankseg_med.studies.bids.listing import list_label_maps
from rankseg_med.studies.data_list import DATA_LIST_SUFFIXES, list_entries
from rankseg_med.studies.errors import StudyError, check_regular_file, is_there
from rankseg_med.studies.folders import group_images, images_in_folder, images_matching, own_case_id
from rankseg_med.studies.readers import IMAGE_SUFFIXES, is_image_file
from rankseg_med.studies.readers.dicom import is_dicom_series
from rankseg_med.studies.study import Listing, Study


def find_studies(
    source: Path, *, data_root: Path | None = None, fold: int | None = None, channels: int | None = None
) -> list[Study]:
    """List the studies that an image, a folder, a pattern or a data list stands for; no image's header is read.

    Args:
        source: one of
            - an image (see `open_image`), or a folder that DICOM slices lie in directly: one study;
            - a folder: the images that lie directly in it and are not hidden, or, where there are none, each folder in
              it that DICOM slices lie in;
            - a pattern, such as `cases/*/imaging.nii.gz` (`**` is any depth): the images and DICOM folders that it
              matches. A case id is the file's name, or, where names repeat, its folder's;
            - a data list (`.json`, see `Manifest`; `.csv`, see `read_csv`): all training and test entries.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        fold: only the training entries of a data list that are held out in this fold.
        channels: number of images that make a study in a folder or pattern, named as nnU-Net does, `case_0000.nii.gz`
            to `case_0001.nii.gz` for 2. By default every image is a study.

    Returns:
        The studies, sorted by case id for a folder or pattern, in the list's order for a data list; at least one.

    Raises:
        StudyError: as `list_studies`, and if case ids repeat or cannot name a file, a channel is missing, a folder
            cannot be looked into, or a data list has any fault; one error names them all.
    """
    return list_studies(source, data_root=data_root, fold=fold, channels=channels).all_sound()


def list_studies(
    source: Path, *, data_root: Path | None = None, fold: int | None = None, channels: int | None = None
) -> Listing[Study]:
    """As `find_studies`, but what is wrong with some studies does not stand in the way of the others.

    Every file that wants a case id that another wants too is at fault, since none of them has more of a right to it.

    Returns:
        The studies that can be worked on, at least one, and the faults.

    Raises:
        StudyError: if there is no study, or none without a fault; if none of the listed images is there, if `fold` is
            not in the data list, or if `data_root`, `fold` or `channels` are given for what does not have them.
    """
    listing = survey_studies(source, data_root=data_root, fold=fold, channels=channels).some_sound()
    # One missing file is the failure of one study, reported where it is read; none there at all is a wrong root.
    if is_data_list(source) and not any(is_there(study.image) for study in listing.studies):
        raise StudyError(
            f"{source}: none of the {len(listing.studies)} listed images is there, such as {listing.studies[0].image}; "
            "give the data root that the paths are relative to"
        )
    return listing


def survey_studies(
    source: Path, *, data_root: Path | None = None, fold: int | None = None, channels: int | None = None
) -> Listing[Study]:
    """As `list_studies`, also where no study is sound, or no file of a data list is there.

    Raises:
        StudyError: if nothing can be listed at all.
    """
    try:
        return _surveyed(source, data_root, fold, channels)
    except OSError as error:
        raise StudyError(f"{source}: cannot be listed ({error.strerror or error})") from error


def _surveyed(source: Path, data_root: Path | None, fold: int | None, channels: int | None) -> Listing[Study]:
    if is_data_list(source):
        if channels is not None:
            raise StudyError(f"{source}: channels group the images of a folder; a data list names each image itself")
        return list_entries(source, source.parent if data_root is None else data_root, fold)
    if data_root is not None or fold is not None:
        raise StudyError(f"{source}: data_root and fold choose from a data list (.json, .csv), which this is not")
    if source.is_dir() and (channels is not None or not is_dicom_series(source)):
        images, faults, ignored = images_in_folder(source)
        return replace(group_images(images, faults, source, channels), ignored=ignored)
    if glob.has_magic(str(source)) and not is_there(source):
        return group_images(*images_matching(source), source, channels)
    if channels is not None:
        raise StudyError(f"{source}: channels group the images of a folder or pattern, which this is not")
    if not source.is_dir():
        if not (is_image_file(source) and is_there(source)):
            raise StudyError(
                f"{source}: must be an existing image ({', '.join(IMAGE_SUFFIXES)}), a folder of images or of a DICOM "
                "series, a pattern in quotes, or a data list (.json, .csv)"
            )
        check_regular_file(source)
    return Listing(source, [Study(own_case_id(source), source)])


def is_data_list(source: Path) -> bool:
    """Whether it has the name of a data list, whose paths are relative to a root."""
    return source.suffix.lower() in DATA_LIST_SUFFIXES


def find_predictions(source: Path) -> dict[str, Path]:
    """Case id to label map of what was predicted; no header is read.

    Args:
        source: a label map, a folder of label maps, or a pattern of them, see `find_studies`; or a BIDS derivative data
            set, see `list_label_maps`.

    Raises:
        StudyError: as `find_studies`, and if it is a data list, which has no predictions.
    """
    return by_case(list_predictions(source).all_sound())


def list_predictions(source: Path) -> Listing[Study]:
    """As `find_predictions`, each label map as a study's image, but faults do not stand in the way of the rest.

    Raises:
        StudyError: as `list_studies`, and if it is a data list, which has no predictions.
    """
    if is_data_list(source):
        raise StudyError(
            f"{source}: is a data list, whose images and labels are no predictions; give the folder that the predicted "
            "label maps lie in"
        )
    return list_label_maps(source) if is_dataset(source) else list_studies(source)


def find_references(source: Path, *, data_root: Path | None = None, fold: int | None = None) -> dict[str, Path]:
    """Case id to reference label map, from whatever names them; no header is read.

    Args:
        source: a label map, a folder of label maps, a pattern of them, or a data list (`.json`, `.csv`), whose labels
            are meant and not its images, see `find_studies`; or a BIDS derivative data set, see `list_label_maps`.
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
    if is_dataset(source):
        return list_label_maps(source)
    listing = list_studies(source, data_root=data_root, fold=fold)
    if not is_data_list(source):
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
