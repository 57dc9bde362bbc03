"""Telling whether a file is still the one that was worked on, without reading all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

_END_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20


def fingerprint(paths: Sequence[Path]) -> str:
    """Fingerprint of a study's files: of each the name, the size, and its first and last 64 KiB.

    A compressed file ends in the checksum of all that it holds, so that any change shows. Of other files the time of
    the last change counts as well: a voxel changed in the middle of a plain ``.nii`` shows, and so does a copy that did
    not keep the time. Folders (DICOM series) stand for the files directly in them.

    Args:
        paths: Files or folders, at least one; their order counts, the folders that they lie in do not.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: A path is not there or cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            status = file.stat()
            changed = "" if file.suffix.lower() == ".gz" else str(status.st_mtime_ns)
            digest.update(f"{file.name}\0{status.st_size}\0{changed}\0".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(_END_BYTES))
                stream.seek(max(0, status.st_size - _END_BYTES))
                digest.update(stream.read(_END_BYTES))
    return digest.hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 of a file's whole content, 64 hexadecimal digits.

    Raises:
        OSError: The file is not there or cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
