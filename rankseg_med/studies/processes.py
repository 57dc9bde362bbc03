"""Whether a process that left something behind still runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path

_START_TIME = 19  # of the fields that follow the name in Linux's /proc/<process>/stat, counted from the state
_ENDED = ("Z", "X")  # zombies, of which nobody has asked yet what became of them, and the dead


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
