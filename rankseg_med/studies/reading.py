"""What libraries raise on damaged files, turned into this package's error."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from rankseg_med.studies.errors import StudyError

MAX_DEFLATE_RATIO = 1032
"""Deflate cannot shrink data further than this, so a larger claim by a compressed file's header is false."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_READ_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    ValueError,
    OverflowError,
    ImageFileError,
    HeaderDataError,
    RuntimeError,  # SimpleITK's only one
)


def check_regular_file(path: Path) -> None:
    """Refuse what would not end or not be a file, such as a pipe or a device, before it is opened.

    Raises:
        StudyError: The path is something else than a regular file, or a link to one.
        OSError: It is not there or cannot be reached.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise StudyError(f"{path}: must be a regular file, found {_KINDS.get(stat.S_IFMT(mode), 'another kind')}")


@contextmanager
def reported_as_study_error(path: Path, kind: str = "NIfTI") -> Iterator[None]:
    """Turn whatever nibabel, SimpleITK, gzip and zlib raise on a damaged file into a `StudyError` that names it.

    Args:
        path: the file.
        kind: what it should be, such as NIfTI.
    """
    try:
        yield
    except StudyError:
        raise
    except _READ_ERRORS as error:
        reason = " ".join(str(error).split())  # some messages run over several lines
        raise StudyError(f"{path}: cannot be read as {kind} ({reason}); copy or export it again") from error


def check_size(path: Path, voxel_file: Path, needed: int, *, compressed: bool) -> None:
    """Reject a header that promises more than its file can hold, before memory is taken for it.

    Args:
        path: the file whose header it is.
        voxel_file: the file that holds the voxels, often the same.
        needed: bytes that the header asks for.
        compressed: whether the voxels are deflated.

    Raises:
        StudyError: if the file cannot hold so many.
    """
    size = voxel_file.stat().st_size
    most = size * MAX_DEFLATE_RATIO if compressed else size
    if needed > most:
        raise StudyError(
            f"{path}: the header asks for {needed} bytes, but {voxel_file.name} of {size} bytes holds {most} at most; "
            "the file is truncated, copy or export it again"
        )
