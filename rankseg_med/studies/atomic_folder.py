"""Folders of results that are either complete or absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


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
