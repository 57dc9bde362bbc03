"""One process at a time in a folder, also where several machines share it."""

from __future__ import annotations

import json
import os
import platform
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from rankseg_med.studies.errors import StudyError

_ABANDONED_AFTER_S = 3600
_RENEWED_EVERY_S = 60


class FolderLock:
    """A file that says which process works in a folder; whoever comes second is refused.

    The file is created exclusively, which needs no lock service and works on shared file systems. A lock is taken over
    if its owner ran on this machine and runs no more, or ran on another one and has not renewed it for an hour.

    Args:
        folder: Is made where it is missing.
        name: Of the file.
    """

    def __init__(self, folder: Path, name: str = ".lock") -> None:
        self.path = folder / name
        self._claim = json.dumps(
            {
                "host": platform.node(),
                "process": os.getpid(),
                "born": _birth_of(os.getpid()),
                "since": datetime.now().astimezone().isoformat(timespec="seconds"),
            }
        )
        self._renewed = 0.0

    def __enter__(self) -> FolderLock:
        """Take the folder.

        Raises:
            StudyError: Another process has it.
            OSError: The file cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._created():
            self._remove_abandoned()
        self._renewed = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the folder free."""
        if self._is_ours():
            self.path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Tell other machines that the owner is at work; to be called from time to time, as often as one likes.

        Raises:
            StudyError: Another process has taken the folder over, or somebody has removed the lock.
        """
        if time.monotonic() - self._renewed > _RENEWED_EVERY_S:
            if not self._is_ours():
                raise StudyError(f"{self.path}: is no longer this process's; another one may work in the folder")
            os.utime(self.path)
            self._renewed = time.monotonic()

    def _is_ours(self) -> bool:
        try:
            return self.path.read_text(encoding="utf-8") == self._claim
        except FileNotFoundError:
            return False

    def _created(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._claim)
        return True

    def _remove_abandoned(self) -> None:
        try:
            content, age_s = self.path.read_text(encoding="utf-8"), time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return
        owner = _parsed(content)
        on_this_machine = owner.get("host") == platform.node()
        if _is_alive(owner) if on_this_machine else age_s < _ABANDONED_AFTER_S:
            raise StudyError(
                f"{self.path.parent}: process {owner.get('process', 'unknown')} on {owner.get('host', 'unknown')} has "
                f"worked in this folder since {owner.get('since', 'just now')}; wait for it or take another folder (if "
                f"it is gone for certain, remove {self.path})"
            )
        # Of several that find the same lock abandoned, one moves it away; a lock that was new meanwhile is put back.
        moved = self.path.with_name(f"{self.path.name}.{uuid4().hex[:8]}")
        try:
            self.path.rename(moved)
        except FileNotFoundError:
            return
        if moved.read_text(encoding="utf-8") == content:
            moved.unlink()
        else:
            moved.rename(self.path)


def _parsed(content: str) -> dict[str, Any]:
    """An owner, as far as its creator has come with writing it."""
    try:
        owner = json.loads(content)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_alive(owner: dict[str, Any]) -> bool:
    """Whether the very process runs, not a later one that was given its number."""
    try:
        process = int(owner["process"])
        os.kill(process, 0)
    except PermissionError:
        pass
    except (KeyError, TypeError, ValueError, OverflowError, ProcessLookupError):
        return False
    return bool(owner.get("born") == _birth_of(process))


def _birth_of(process: int) -> str | None:
    """When a process was started, in ticks since the machine was; None if it is dead, or the system does not tell."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
