"""Files that are either complete or absent, also when the process is killed half-way."""

import os
import platform
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_NAME_OF_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(?P<process>[0-9]+)@(?P<host>[^@]*)@\.(?P<name>.+)", re.DOTALL)
_ABANDONED_AFTER_S = 24 * 3600


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

    temporary = path.with_name(f".{uuid4().hex[:8]}.{os.getpid()}@{platform.node()}@.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        # A full disk does not say by itself which file it had no room for.
        if error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(paths: Iterable[Path]) -> None:
    """Remove what writers of files left behind that were killed.

    A temporary file is taken for abandoned if its process ran on this machine and runs no more, or if it was not
    written to for a day: of another machine, or of one whose process ids begin anew (a container), no more is known.

    Args:
        paths: The files that were to be written.
    """
    names_by_folder = defaultdict[Path, set[str]](set)
    for path in paths:
        names_by_folder[path.parent].add(path.name)
    for folder, names in names_by_folder.items():
        for file in folder.iterdir() if folder.is_dir() else ():
            match = _NAME_OF_TEMPORARY.fullmatch(file.name)
            if match and match["name"] in names and _is_abandoned(file, match["process"], match["host"]):
                file.unlink(missing_ok=True)


def _is_abandoned(temporary: Path, process: str, host: str) -> bool:
    if host == platform.node() and not is_running(int(process)):
        return True
    try:
        return time.time() - temporary.stat().st_mtime > _ABANDONED_AFTER_S
    except FileNotFoundError:
        return False


def is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
