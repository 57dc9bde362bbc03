"""Files that are either complete or absent, also when the process is killed half-way."""

import hashlib
import logging
import os
import platform
import re
import stat
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from rankseg_med.studies.processes import is_running

_NAME_OF_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(?P<process>[0-9]+)@(?P<host>[^@]*)@\.(?P<name>.+)", re.DOTALL)
_ABANDONED_AFTER_S = 24 * 3600
# File systems take names of 255 bytes. Of these, before the name: 8 hexadecimal digits, a process, a host and 6 signs.
_LONGEST_NAME_BYTES = 160
_LONGEST_HOST = 64
_LONGEST_SUFFIX = 24

_logger = logging.getLogger(__name__)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under a hidden temporary name and give it its own name only once it is complete.

    The temporary name ends in the final name, or, of a very long one, in its end: libraries that choose a format by
    suffix (`.nii.gz`) choose the same one. It lies in the same folder, because a rename is atomic only within one file
    system.

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

    temporary = path.with_name(f".{uuid4().hex[:8]}.{os.getpid()}@{_host()}@.{_shortened(path.name)}")
    try:
        with naming_the_file(path):
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming_the_file(path: Path) -> Iterator[None]:
    """Let an error of writing name the file: a full disk does not say by itself which one it had no room for."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def remove_unfinished(paths: Iterable[Path]) -> None:
    """Remove what writers of files left behind that were killed.

    A temporary file is taken for abandoned if its process ran on this machine and runs no more, or if it was not
    written to for a day: of another machine, or of one whose process ids begin anew (a container), no more is known.

    Whatever else has such a name, a folder or a link, and whatever must not be looked into or removed is left, with a
    warning: a leftover harms no result.

    Args:
        paths: The files that were to be written.
    """
    names_by_folder = defaultdict[Path, set[str]](set)
    for path in paths:
        names_by_folder[path.parent].add(_shortened(path.name))
    for folder, names in names_by_folder.items():
        try:
            files = list(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            _logger.warning("%s: cannot be searched for unfinished files (%s)", folder, error.strerror)
            continue
        for file in files:
            match = _NAME_OF_TEMPORARY.fullmatch(file.name)
            if match and match["name"] in names:
                _remove_abandoned(file, int(match["process"]), match["host"])


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", platform.node())[:_LONGEST_HOST]


def _shortened(name: str) -> str:
    """A name itself, or, where that would be too long with all that goes before it, a digest of it and its end."""
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_NAME_BYTES:
        return name
    return hashlib.sha256(encoded).hexdigest()[:32] + name[-_LONGEST_SUFFIX:]


def _remove_abandoned(temporary: Path, process: int, host: str) -> None:
    try:
        status = temporary.lstat()
        if not stat.S_ISREG(status.st_mode):
            _logger.warning("%s: has the name of an unfinished file, but is none; left where it is", temporary)
        elif (host == _host() and not is_running(process)) or time.time() - status.st_mtime > _ABANDONED_AFTER_S:
            temporary.unlink()
    except FileNotFoundError:
        pass  # its writer has finished, or another run removed it
    except OSError as error:
        _logger.warning("%s: an unfinished file that cannot be removed (%s)", temporary, error.strerror)
