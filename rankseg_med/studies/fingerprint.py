"""What tells one input from another: every file that is read of it."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from rankseg_med.studies.dicom import slice_candidates
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.itk import read_itk_header
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


_END_BYTES = 1 << 16


def fingerprint(paths: Sequence[Path]) -> str:
    """Fingerprint of a study's files: of each the name, the size, and its first and last 64 KiB.

    A compressed file ends in the checksum of all that it holds, so that any change shows. Of other files the time of
    the last change counts as well: a voxel changed in the middle of a plain ``.nii`` shows, and so does a copy that did
    not keep the time. A header stands for the file of its voxels too, and a folder for the slices in it; see
    `files_read`.

    Args:
        paths: Files or folders, at least one; their order counts, the folders that they lie in do not.

    Returns:
        64 hexadecimal digits.

    Raises:
        StudyError: A path is no regular file (a pipe would never end), or a folder with no file in it.
        OSError: A path is not there or cannot be read.
    """
    digest = hashlib.sha256()
    for file in _files(paths):
        status = file.stat()
        changed = "" if file.suffix.lower() == ".gz" else str(status.st_mtime_ns)
        digest.update(f"{file.name}\0{status.st_size}\0{changed}\0".encode("utf-8", "surrogateescape"))
        with file.open("rb") as stream:
            digest.update(stream.read(_END_BYTES))
            stream.seek(max(0, status.st_size - _END_BYTES))
            digest.update(stream.read(_END_BYTES))
    return digest.hexdigest()


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        for file in files_read(path):
            check_regular_file(file)
            yield file


def content_digest(path: Path) -> str:
    """SHA-256 of a file's whole content, 64 hexadecimal digits.

    Raises:
        OSError: The file is not there or cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
