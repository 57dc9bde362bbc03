"""Case ids: the part of a file name that an image, its label map and every output of it share."""

from pathlib import PurePath

from rankseg_med.studies.errors import StudyError

NIFTI_SUFFIXES = (".nii.gz", ".nii", ".img", ".hdr")


def is_nifti(path: PurePath) -> bool:
    """Whether a file is named as NIfTI: `.nii`, `.nii.gz`, or either half of an `.img`/`.hdr` pair, in any case."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def case_id(path: PurePath) -> str:
    """The file name less its NIfTI suffix, such as `liver_7` for `images/liver_7.nii.gz`; nothing else is cut off."""
    for suffix in NIFTI_SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def check_case_id(identifier: str) -> str:
    """Return a case id that can safely name a file in an output folder.

    Raises:
        StudyError: if it is empty, `.`, `..`, or holds a path separator or a NUL, so that an output would be written
            elsewhere or not at all.
    """
    if identifier in ("", ".", "..") or any(character in identifier for character in "/\\\0"):
        raise StudyError(
            f"a case id must be a plain file name without path separators, got {identifier!r}; rename the file or "
            "correct the id in the data list"
        )
    return identifier
