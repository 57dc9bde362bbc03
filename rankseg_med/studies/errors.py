"""The errors that mean "this study is at fault, not the program", and the checks of files that raise them."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from rankseg_med.errors import InputError

_MAX_DEFLATE_RATIO = 1032
"""Deflate cannot shrink data further than this, so a larger claim by a compressed file's header is false."""

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

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class StudyError(InputError):
    """A study that cannot be used; the message names the file, what was required, what came and the likely fix."""


class GridError(StudyError):
    """Two files that should share one grid but do not; the message names both values of what differs."""


class DataListError(StudyError):
    """A data list that cannot be used.

    Attributes:
        faults: everything that is wrong with it, one by one.
    """

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        super().__init__(f"{path}: not a data list: {'; '.join(faults)}")
        self.faults = list(faults)


def is_there(path: Path) -> bool:
    """Whether anything lies at a path, a link that leads nowhere too; a name that no file can have is not there."""
    return os.path.lexists(path)


def check_regular_file(path: Path) -> None:
    """Check that a path leads to a regular file that can be read; see `file_fault`.

    Raises:
        StudyError: if it does not; the message names the path.
    """
    fault = file_fault(path)
    if fault is not None:
        raise StudyError(f"{path}: {fault}")


def file_fault(path: Path) -> str | None:
    """Why a path does not lead to a regular file that can be read; None if it does. Links are followed.

    To be asked before anything opens it: opening a FIFO waits for a writer, maybe forever, and `/dev/zero` never ends.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "something else")
            return f"is {kind}, must be a regular file; move it elsewhere and give the file itself"
        with path.open("rb"):
            return None
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such file" + (f", only a link to {path.readlink()}" if path.is_symlink() else "")
    except (OSError, ValueError) as error:  # a ValueError is what a name with a null byte gives
        return f"cannot be read ({_reason(error)}); {_likely_fix(error)}"


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
        raise StudyError(f"{path}: cannot be read as {kind} ({_reason(error)}); {_likely_fix(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())  # some messages run over several lines


def _likely_fix(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "let this user read it"
    return "copy or export it again"


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
    most = size * _MAX_DEFLATE_RATIO if compressed else size
    if needed > most:
        raise StudyError(
            f"{path}: the header asks for {needed} bytes, but {voxel_file.name} of {size} bytes holds {most} at most; "
            "the file is truncated, copy or export it again"
        )
