"""From what a user points at (a file, a folder, a data list) to the studies it stands for."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.manifest import LabelledEntry, Manifest
from rankseg_med.studies.naming import case_id, check_case_id, is_nifti


@dataclass(frozen=True)
class Study:
    """One image on disk and what is known of it.

    Attributes:
        case_id: names the study's outputs; unique within a listing and safe as a file name.
        image: the image.
        label: its label map, where a data list gives one.
        fold: the fold in which it is held out, where a data list gives one.
    """

    case_id: str
    image: Path
    label: Path | None = None
    fold: int | None = None


def find_studies(source: Path, *, data_root: Path | None = None, fold: int | None = None) -> list[Study]:
    """List the studies that a NIfTI file, a folder of them, or a data list stands for; no NIfTI file is opened.

    Args:
        source: a NIfTI file; a folder, of which the NIfTI files are taken that lie directly in it and are not hidden;
            or a data list (`.json`), of which all training and test entries are taken.
        data_root: what a data list's paths are relative to; by default the list's own folder.
        fold: only the training entries of a data list that are held out in this fold.

    Returns:
        The studies, sorted by case id for a folder, in the list's order for a data list; at least one.

    Raises:
        StudyError: if there is no study, if none of the listed images is there, if case ids repeat or cannot name a
            file, if `fold` is not in the data list, or if `data_root` or `fold` are given without a data list.
    """
    if source.suffix.lower() == ".json":
        return _in_data_list(source, source.parent if data_root is None else data_root, fold)
    if data_root is not None or fold is not None:
        raise StudyError(f"{source}: data_root and fold choose from a data list (.json), which this is not")
    if source.is_dir():
        return _in_folder(source)
    if is_nifti(source) and source.is_file():
        return [Study(_file_id(source), source)]
    raise StudyError(f"{source}: must be an existing NIfTI file, a folder of NIfTI files, or a data list (.json)")


def _in_folder(folder: Path) -> list[Study]:
    # A broken link is not a folder either: it is listed, and reported when it is opened, instead of vanishing.
    files = [
        file for file in folder.iterdir() if is_nifti(file) and not file.name.startswith(".") and not file.is_dir()
    ]
    paired = {case_id(file) for file in files if file.suffix.lower() == ".img"}
    images = [file for file in files if file.suffix.lower() != ".hdr" or case_id(file) not in paired]
    if not images:
        raise StudyError(
            f"{folder}: holds no NIfTI files (.nii.gz, .nii, .img with .hdr); folders in it are not searched"
        )
    counts = Counter(map(case_id, images))
    repeated = sorted(file.name for file in images if counts[case_id(file)] > 1)
    if repeated:
        raise StudyError(f"{folder}: these files give the same case id, rename or move one: {', '.join(repeated)}")
    return sorted((Study(_file_id(file), file) for file in images), key=lambda study: study.case_id)


def _in_data_list(path: Path, data_root: Path, fold: int | None) -> list[Study]:
    manifest = Manifest.read(path)
    entries = [*manifest.training, *manifest.test]
    if fold is not None:
        entries = [entry for entry in manifest.training if entry.fold == fold]
        if not entries:
            folds = sorted({entry.fold for entry in manifest.training if entry.fold is not None})
            raise StudyError(f"{path}: has no fold {fold}; its folds are {folds}")
    studies = [
        Study(entry.id, data_root / entry.image, data_root / entry.label, entry.fold)
        if isinstance(entry, LabelledEntry)
        else Study(entry.id, data_root / entry.image)
        for entry in entries
    ]
    if not studies:
        raise StudyError(f"{path}: lists no studies")
    # One missing file is the failure of one study, reported where it is read; none there at all is a wrong root.
    if not any(study.image.is_file() for study in studies):
        raise StudyError(
            f"{path}: none of the {len(studies)} listed images is there, such as {studies[0].image}; give the data "
            "root that the paths are relative to"
        )
    return studies


def _file_id(file: Path) -> str:
    try:
        return check_case_id(case_id(file))
    except StudyError as error:
        raise StudyError(f"{file}: {error}") from error
