"""What libraries raise on damaged files, turned into this package's error."""

from __future__ import annotations

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
