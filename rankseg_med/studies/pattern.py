"""Finding what a pattern such as `cases/*/imaging.nii.gz` matches, and saying where it could not look."""

from __future__ import annotations

import fnmatch
import glob
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path


class PatternSearch:
    """What a pattern matches, with the signs of `glob`: `*`, `?`, `[...]`, and `**` for any depth.

    Python's `glob` passes over folders that it may not look into, and follows links that lead back to where they lie.

    Args:
        pattern: absolute, or relative to the working folder. Hidden files and folders are matched by name only.

    Attributes:
        found: what matches, sorted; links are followed, but for those to a folder that they lie in.
        errors: where it could not look, such as a folder that is shut or a link to itself, and why.
    """

    def __init__(self, pattern: Path) -> None:
        self.errors: dict[Path, OSError] = {}
        parts = pattern.parts[1:] if pattern.anchor else pattern.parts
        self.found = sorted(set(self._matches(Path(pattern.anchor), parts)))

    def _matches(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        if not parts:
            yield folder
            return
        first, rest = parts[0], parts[1:]
        if first == "**":
            for below in self._with_all_below(folder, above=frozenset()):
                yield from self._matches(below, rest or ["*"])
        elif glob.has_magic(first):
            for path in self._inside(folder):
                if fnmatch.fnmatch(path.name, first) and (first.startswith(".") or not path.name.startswith(".")):
                    yield from self._matches(path, rest)
        elif self._exists(folder / first):
            yield from self._matches(folder / first, rest)

    def _with_all_below(self, folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
        """A folder and all in it that are not hidden; `above` are those that it lies in, by device and inode."""
        try:
            status = folder.stat()
        except OSError as error:
            self._note(folder, error)
            return
        identity = status.st_dev, status.st_ino
        if identity in above or not stat.S_ISDIR(status.st_mode):
            return
        yield folder
        for path in self._inside(folder):
            if not path.name.startswith("."):
                yield from self._with_all_below(path, above | {identity})

    def _inside(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except OSError as error:
            self._note(folder, error)
            return []

    def _exists(self, path: Path) -> bool:
        try:
            path.lstat()
        except OSError as error:
            self._note(path.parent, error)
            return False
        return True

    def _note(self, place: Path, error: OSError) -> None:
        """That nothing is there, or a file that nothing can be in, is an answer."""
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            self.errors[place] = error
