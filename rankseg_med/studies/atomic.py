"""Files and folders that are written whole or not at all, and what is left of writers that run no more."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import re
import shutil
import stat
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

_NAME_OF_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(?P<process>[0-9]+)@(?P<host>[^@]*)@\.(?P<name>.+)", re.DOTALL)
_ABANDONED_AFTER_S = 24 * 3600
# File systems take names of 255 bytes. Of these, before the name: 8 hexadecimal digits, a process, a host and 6 signs.
_LONGEST_NAME_BYTES = 160
_LONGEST_HOST = 64
_LONGEST_SUFFIX = 24

_START_TIME = 19  # of the fields that follow the name in Linux's /proc/<process>/stat, counted from the state
_ENDED = ("Z", "X")  # zombies, of which nobody has asked yet what became of them, and the dead

_log = logging.getLogger(__name__)


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
            _log.warning("%s: cannot be searched for unfinished files (%s)", folder, error.strerror)
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
            _log.warning("%s: has the name of an unfinished file, but is none; left where it is", temporary)
        elif (host == _host() and not is_running(process)) or time.time() - status.st_mtime > _ABANDONED_AFTER_S:
            temporary.unlink()
    except FileNotFoundError:
        pass  # its writer has finished, or another run removed it
    except OSError as error:
        _log.warning("%s: an unfinished file that cannot be removed (%s)", temporary, error.strerror)


def check_new_file(path: Path) -> None:
    """Look whether a file can be written without replacing anything.

    Raises:
        FileExistsError: Something is there.
    """
    if os.path.lexists(path):
        raise FileExistsError(f"{path}: is there already; give another file, or --overwrite to replace it")


def check_new_folder(path: Path) -> None:
    """Look whether a folder can be written as a whole.

    Raises:
        FileExistsError: It is there and holds something, or is no folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path}: is there already; give a new folder, or remove it first")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder under a hidden temporary name beside it and give it its own name only once it is complete.

    Args:
        path: Path where the folder shall be; nothing, or an empty folder, may be there.

    Yields:
        The folder to fill.

    Raises:
        FileExistsError: Something is there.
        OSError: It cannot be written. Whatever is raised, by the body too, nothing stays behind.
    """
    check_new_folder(path)
    temporary = path.with_name(f".{uuid4().hex[:8]}.{path.name}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file, whole or not at all; an undefined number (NaN) is ``null``.

    Raises:
        OSError: The file cannot be written.
        ValueError: A number is infinite.
    """
    write_text(json.dumps(_null_if_nan(content), indent=2, allow_nan=False) + "\n", path)


def _null_if_nan(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _null_if_nan(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_null_if_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def is_running(process: int, born: str | None = None) -> bool:
    """Whether a process runs.

    Args:
        process: Number of the process; absurd ones run no more.
        born: What `birth_of` said of it; None if that is not known. A later process that was given the same number
            is another one.
    """
    if process == 0:  # which stands for a group of processes
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    fields = _fields_of(process)
    if fields and fields[0] in _ENDED:
        return False
    return born is None or not fields or fields[_START_TIME] == born


def birth_of(process: int) -> str | None:
    """When a process was started, in ticks since the machine was; None where the system does not tell."""
    fields = _fields_of(process)
    return fields[_START_TIME] if fields else None


def _fields_of(process: int) -> list[str]:
    try:
        # The name, in brackets, may hold anything.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
