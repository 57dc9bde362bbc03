"""All files that are read where a user names one."""

from __future__ import annotations

import stat
from pathlib import Path

from rankseg_med.studies.dicom import slice_candidates
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.itk_header import read_itk_header
from rankseg_med.studies.reading import check_regular_file

_HALVES = (".hdr", ".HDR", ".img", ".IMG")


def files_read(path: Path) -> tuple[Path, ...]:
    """The files that are read of an image: itself, and where its voxels lie elsewhere, the file that holds them.

    Args:
        path: Any image, or another file. Either half of an ``.img``/``.hdr`` pair stands for both; ``.mhd`` for its
            data file too; a folder for the files directly in it that may be slices of a DICOM series. Folders in it
            and hidden files are not read, and do not count.

    Returns:
        At least one, in an order that depends on their names alone. A companion that should be there and is not is
        left out, and so is one that a damaged header cannot name: whoever reads the image says what is wrong with it.

    Raises:
        StudyError: A folder without files, or a header that is no regular file.
        OSError: The path is not there or cannot be read.
    """
    if stat.S_ISDIR(path.stat().st_mode):
        if files := slice_candidates(path):
            return tuple(files)
        raise StudyError(f"{path}: a folder as a study must hold the slices of a DICOM series, found no file in it")
    if path.suffix in _HALVES:
        return tuple(half for suffix in _HALVES if (half := path.with_suffix(suffix)).exists())
    if path.suffix.lower() == ".mhd":
        check_regular_file(path)
        try:
            return tuple(dict.fromkeys((path, read_itk_header(path).voxel_file)))
        except StudyError:
            return (path,)
    return (path,)
