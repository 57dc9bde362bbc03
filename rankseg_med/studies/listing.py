"""From what a user points at (a file, a folder, a pattern, a data list) to the studies it stands for."""

from __future__ import annotations

import glob
from collections import Counter
from pathlib import Path

from rankseg_med.studies.channel_files import group_channels
from rankseg_med.studies.data_list import DATA_LIST_SUFFIXES, read_data_list
from rankseg_med.studies.dicom import is_dicom_series
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.manifest import ImageEntry, LabelledEntry
from rankseg_med.studies.naming import IMAGE_SUFFIXES, case_id, check_case_id, is_image_file
from rankseg_med.studies.study import Study

__all__ = ["Study", "find_studies", "studies_of_entries"]


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
        channels: of a folder or pattern: how many images make a study, named as nnU-Net does, `case_0000.nii.gz` to
            `case_0001.nii.gz` for 2. By default every image is a study.

    Returns:
        The studies, sorted by case id for a folder or pattern, in the list's order for a data list; at least one.

    Raises:
        StudyError: if there is no study, if none of the listed images is there, if case ids repeat or cannot name a
            file, if a channel is missing, if `fold` is not in the data list, or if `data_root`, `fold` or `channels`
            are given for what does not have them.
    """
    if source.suffix.lower() in DATA_LIST_SUFFIXES:
        if channels is not None:
            raise StudyError(f"{source}: channels group the images of a folder; a data list names each image itself")
        return _in_data_list(source, source.parent if data_root is None else data_root, fold)
    if data_root is not None or fold is not None:
        raise StudyError(f"{source}: data_root and fold choose from a data list (.json, .csv), which this is not")
    if source.is_dir() and (channels is not None or not is_dicom_series(source)):
        return _grouped(_in_folder(source), source, channels)
    if glob.has_magic(str(source)) and not source.exists():
        return _grouped(_matching(source), source, channels)
    if channels is not None:
        raise StudyError(f"{source}: channels group the images of a folder or pattern, which this is not")
    if source.is_dir() or (is_image_file(source) and source.is_file()):
        return [Study(_id(source), source)]
    raise StudyError(
        f"{source}: must be an existing image ({', '.join(IMAGE_SUFFIXES)}), a folder of images or of a DICOM series, "
        "a pattern in quotes, or a data list (.json, .csv)"
    )


def studies_of_entries(entries: list[LabelledEntry | ImageEntry], data_root: Path) -> list[Study]:
    """The studies of a data list's entries, in its order."""
    return [
        Study(
            entry.id,
            data_root / entry.images[0],
            data_root / entry.label if isinstance(entry, LabelledEntry) else None,
            entry.fold if isinstance(entry, LabelledEntry) else None,
            tuple(data_root / image for image in entry.images[1:]),
        )
        for entry in entries
    ]


def _in_folder(folder: Path) -> list[Path]:
    # A broken link is not a folder either: it is listed, and reported when it is opened, instead of vanishing.
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    images = [path for path in inside if is_image_file(path) and not path.is_dir()]
    images = images or [path for path in inside if path.is_dir() and is_dicom_series(path)]
    if not images:
        raise StudyError(
            f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)}) and no folders of DICOM slices; of folders in it "
            "only DICOM series are taken, so give a pattern such as 'folder/*/image.nii.gz'"
        )
    return images


def _matching(pattern: Path) -> list[Path]:
    found = [Path(name) for name in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207  (absolute ones too)
    images = [path for path in found if (is_dicom_series(path) if path.is_dir() else is_image_file(path))]
    if not images:
        raise StudyError(f"{pattern}: no image or DICOM folder matches this pattern, of {len(found)} matches; mend it")
    return images


def _grouped(images: list[Path], source: Path, channels: int | None) -> list[Study]:
    paired = {path.with_suffix("") for path in images if path.suffix.lower() == ".img"}
    images = [path for path in images if path.suffix.lower() != ".hdr" or path.with_suffix("") not in paired]
    alone = {path: (path,) for path in images}
    images_of = alone if channels is None else group_channels(images, channels, source)
    name_of = _names(list(images_of), source)
    studies = [Study(name_of[key], files[0], more_images=files[1:]) for key, files in images_of.items()]
    return sorted(studies, key=lambda study: study.case_id)


def _names(paths: list[Path], source: Path) -> dict[Path, str]:
    """Case id per file: of its name, or of its folder's if a pattern matches one name in many folders."""
    names = {path: _id(path) for path in paths}
    if len(set(names.values())) < len(paths) and len({path.parent for path in paths}) == len(paths):
        names = {path: check_case_id(path.parent.name) for path in paths}
    counts = Counter(names.values())
    repeated = sorted(str(path.name if source.is_dir() else path) for path in paths if counts[names[path]] > 1)
    if repeated:
        raise StudyError(f"{source}: these files give the same case id, rename or move one: {', '.join(repeated)}")
    return names


def _in_data_list(path: Path, data_root: Path, fold: int | None) -> list[Study]:
    entries = read_data_list(path)
    if fold is not None:
        folds = sorted({entry.fold for entry in entries if isinstance(entry, LabelledEntry) and entry.fold is not None})
        if fold not in folds:
            raise StudyError(f"{path}: has no fold {fold}; its folds are {folds}")
        entries = [entry for entry in entries if isinstance(entry, LabelledEntry) and entry.fold == fold]
    studies = studies_of_entries(entries, data_root)
    if not studies:
        raise StudyError(f"{path}: lists no studies")
    # One missing file is the failure of one study, reported where it is read; none there at all is a wrong root.
    if not any(study.image.exists() for study in studies):
        raise StudyError(
            f"{path}: none of the {len(studies)} listed images is there, such as {studies[0].image}; give the data "
            "root that the paths are relative to"
        )
    return studies


def _id(path: Path) -> str:
    try:
        # A folder's name is kept whole, also where it looks like a file's; "." has none of its own.
        return check_case_id(path.resolve().name if path.is_dir() else case_id(path))
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
