"""Files that are either complete or absent, also when the process is killed half-way."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under a hidden temporary name and give it its own name only once it is complete.

    The temporary name ends in the final name, so libraries that choose a format by suffix (`.nii.gz`) choose the same
    one. It lies in the same folder, because a rename is atomic only within one file system.

    Args:
        path: where the file shall be. Missing parent folders are made; an existing file is replaced.

    Yields:
        The path to write to. It does not exist yet; the body must create it.

    Raises:
        OSError: if the folder cannot be made or written to, or if the body wrote nothing. Whatever is raised, by the
            body too, no temporary file stays behind and an existing file at `path` stays as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot make the output folder ({error.strerror})", str(path.parent)) from error

    temporary = path.with_name(f".{uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
