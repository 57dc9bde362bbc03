"""Telling whether a file is still the one that was worked on, without reading all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from rankseg_med.studies.companions import files_read
from rankseg_med.studies.reading import check_regular_file

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
