"""Case ids: the part of a file name that an image, its label map and every output of it share."""

from __future__ import annotations

from pathlib import PurePath

from rankseg_med.studies.errors import StudyError

NIFTI_SUFFIXES = (".nii.gz", ".nii", ".img", ".hdr")
ITK_SUFFIXES = (".nrrd", ".mha", ".mhd")
IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)

_MAX_BYTES = 200
"""File systems take names of 255 bytes; an output adds a suffix, and a temporary one a prefix."""


def is_nifti(path: PurePath) -> bool:
    """Whether a file is named as NIfTI: `.nii`, `.nii.gz`, or either half of an `.img`/`.hdr` pair, in any case."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def is_image_file(path: PurePath) -> bool:
    """Whether a file is named as an image that can be read: NIfTI, NRRD or MetaImage."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def case_id(path: PurePath) -> str:
    """The file name less its image suffix, such as `liver_7` for `images/liver_7.nii.gz`; nothing else is cut off."""
    for suffix in IMAGE_SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def check_case_id(identifier: str) -> str:
    """Return a case id that can safely name a file in an output folder.

    Raises:
        StudyError: if it is empty, `.`, `..`, longer than 200 bytes, or holds a path separator or a character that
            does not print, so that an output would be written elsewhere, not at all, or under a misleading name.
    """
    if identifier in ("", ".", "..") or any(character in identifier for character in "/\\"):
        raise StudyError(
            f"a case id must be a plain file name without path separators, got {identifier!r}; rename the file or "
            "correct the id in the data list"
        )
    if not identifier.isprintable() or len(identifier.encode("utf-8", "surrogateescape")) > _MAX_BYTES:
        raise StudyError(
            f"a case id must print and have at most {_MAX_BYTES} bytes, got {identifier!r}; rename the file or "
            "correct the id in the data list"
        )
    return identifier
