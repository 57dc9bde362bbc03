"""From what a user points at (a file, a folder, a pattern, a data list) to the studies it stands for."""

from __future__ import annotations

import glob
import os
import stat
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from rankseg_med.studies.channel_files import group_channels
from rankseg_med.studies.data_list import DATA_LIST_SUFFIXES, list_entries
from rankseg_med.studies.dicom import is_dicom_series
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.naming import IMAGE_SUFFIXES, case_id, check_case_id, is_image_file
from rankseg_med.studies.pattern import PatternSearch
from rankseg_med.studies.reading import check_regular_file, is_there
from rankseg_med.studies.study import Fault, Listing, Study

__all__ = ["find_studies", "list_studies", "survey_studies"]


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
    if _is_data_list(source) and not any(is_there(study.image) for study in listing.studies):
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
    if _is_data_list(source):
        if channels is not None:
            raise StudyError(f"{source}: channels group the images of a folder; a data list names each image itself")
        return list_entries(source, source.parent if data_root is None else data_root, fold)
    if data_root is not None or fold is not None:
        raise StudyError(f"{source}: data_root and fold choose from a data list (.json, .csv), which this is not")
    if source.is_dir() and (channels is not None or not is_dicom_series(source)):
        images, faults, ignored = _in_folder(source)
        return replace(_grouped(images, faults, source, channels), ignored=ignored)
    if glob.has_magic(str(source)) and not is_there(source):
        return _grouped(*_matching(source), source, channels)
    if channels is not None:
        raise StudyError(f"{source}: channels group the images of a folder or pattern, which this is not")
    if source.is_dir():
        return Listing(source, [Study(_id(source), source)])
    if is_image_file(source) and is_there(source):
        check_regular_file(source)
        return Listing(source, [Study(_id(source), source)])
    raise StudyError(
        f"{source}: must be an existing image ({', '.join(IMAGE_SUFFIXES)}), a folder of images or of a DICOM series, "
        "a pattern in quotes, or a data list (.json, .csv)"
    )


def _is_data_list(source: Path) -> bool:
    return source.suffix.lower() in DATA_LIST_SUFFIXES


def _in_folder(folder: Path) -> tuple[list[Path], list[Fault[Study]], tuple[Path, ...]]:
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    # A broken link is not a folder either: it is listed, and reported when it is opened, instead of vanishing.
    files = [path for path in inside if not _is_folder(path)]
    images = [path for path in files if is_image_file(path)]
    ignored = tuple(path for path in files if path not in images)
    faults: list[Fault[Study]] = []
    if not images:
        images, faults = _dicom_folders(inside, broken_links_count=True)
    if not images and not faults:
        raise StudyError(
            f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)}) and no folders of DICOM slices; of folders in it "
            "only DICOM series are taken, so give a pattern such as 'folder/*/image.nii.gz'"
        )
    return images, faults, ignored


def _matching(pattern: Path) -> tuple[list[Path], list[Fault[Study]]]:
    search = PatternSearch(pattern)
    files = [path for path in search.found if is_image_file(path) and not _is_folder(path)]
    others = sorted(set(search.found) - set(files) - set(search.errors))
    # Of links that lead nowhere there are many in collections of which a part was fetched.
    folders, faults = _dicom_folders(others, broken_links_count=False)
    faults += [_unlisted(path, error) for path, error in search.errors.items() if path not in files]
    if not (files or folders or faults):
        raise StudyError(
            f"{pattern}: no image or DICOM folder matches this pattern, of {len(search.found)} matches; mend it"
        )
    return [*files, *folders], faults


def _dicom_folders(paths: list[Path], *, broken_links_count: bool) -> tuple[list[Path], list[Fault[Study]]]:
    """Those of some paths that are folders of DICOM slices, and those of which that cannot be said."""
    folders = []
    faults: list[Fault[Study]] = []
    for path in paths:
        try:
            if stat.S_ISDIR(path.stat().st_mode) and is_dicom_series(path):
                folders.append(path)
        except OSError as error:
            if broken_links_count or not isinstance(error, FileNotFoundError):
                faults.append(_unlisted(path, error))
    return folders, faults


def _unlisted(path: Path, error: OSError) -> Fault[Study]:
    return Fault(None, f"{path}: cannot be looked into ({error.strerror or error}); mend it or move it elsewhere")


def _grouped(images: list[Path], faults: list[Fault[Study]], source: Path, channels: int | None) -> Listing[Study]:
    paired = {path.with_suffix("") for path in images if path.suffix.lower() == ".img"}
    images = [path for path in images if path.suffix.lower() != ".hdr" or path.with_suffix("") not in paired]
    images_of: dict[Path, tuple[Path, ...]] = {path: (path,) for path in images}
    if channels is not None:
        images_of, incomplete = group_channels(images, channels, source)
        faults += incomplete
    named = defaultdict[str, list[Study]](list)
    for key, name in _names(list(images_of)).items():
        named[name].append(Study(name, images_of[key][0], more_images=images_of[key][1:]))
    sound = []
    for name, studies in sorted(named.items()):
        try:
            check_case_id(name)
        except StudyError as error:
            faults += [Fault(None, f"{study.image}: {error}", (study,)) for study in studies]
            continue
        if len(studies) == 1:
            sound += studies
        else:
            files = ", ".join(str(study.image.name if source.is_dir() else study.image) for study in studies)
            reason = f"these files give the same case id, rename or move one: {files}"
            faults.append(Fault(name, reason, tuple(studies)))
    return Listing(source, sound, faults)


def _names(paths: list[Path]) -> dict[Path, str]:
    """Case id per file: of its name, or of its folder's if a pattern matches one name in many folders."""
    names = {path: _name(path) for path in sorted(paths)}
    if len(set(names.values())) < len(paths) and len({path.parent for path in paths}) == len(paths):
        return {path: path.parent.name for path in names}
    return names


def _id(path: Path) -> str:
    try:
        return check_case_id(_name(path))
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error


def _name(path: Path) -> str:
    # A folder's name is kept whole, also where it looks like a file's; "." has none of its own.
    return path.resolve().name if _is_folder(path) else case_id(path)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - pathlib's raises where it may not look
