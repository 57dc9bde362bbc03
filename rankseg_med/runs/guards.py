"""What a run refuses before it writes anything: replacing what was there, and cases that clash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from rankseg_med.runs.job import CaseT, Job
from rankseg_med.studies import Sidecar, StudyError, files_read

_Identity = tuple[int, int]
_NOWHERE = (-1, -1)


def files_of(job: Job[CaseT], case: CaseT) -> tuple[Path, ...]:
    """All files that a run writes for a case."""
    return (*job.outputs_of(case), Sidecar.path_in(job.records, case.case_id))


def check_nothing_is_replaced(job: Job[CaseT], cases: Sequence[CaseT]) -> None:
    """Make sure that no file of a run is an input or a reference label of any of its cases.

    Files are compared by device and inode, so that a link, a bind mount or another spelling of a folder is found out.

    Raises:
        StudyError: One is.
    """
    existing = {identity: path for case in cases for path in files_of(job, case) if (identity := _identity(path))}
    if not existing:
        return
    for case in cases:
        for file in (file for path in job.kept_of(case) for file in _files_read(path)):
            if (output := existing.get(_identity(file) or _NOWHERE)) is not None:
                raise StudyError(
                    f"{output}: an output would replace an input or a label, {file} of {case.case_id}; write to "
                    "another folder"
                )


def refusals(job: Job[CaseT], cases: Sequence[CaseT], reserved: Collection[str]) -> list[str]:
    """Why cases cannot be worked on beside the others, one by one; nothing where a case can.

    Args:
        job: What would be done.
        cases: All of a run.
        reserved: Names, without ending, of the run's own records.

    Returns:
        A reason for each case.
    """
    writers = defaultdict[Path, list[str]](list)
    for case in cases:
        for path in files_of(job, case):
            writers[path].append(case.case_id)
    return [_refusal(job, case, writers, reserved) for case in cases]


def _refusal(job: Job[CaseT], case: CaseT, writers: dict[Path, list[str]], reserved: Collection[str]) -> str:
    if case.case_id in reserved:
        return f"{case.case_id}.json is the name of the run's own record; give the case another id"
    for path in files_of(job, case):
        if len(writers[path]) > 1:
            others = ", ".join(repr(case_id) for case_id in writers[path])
            return f"{path}: would be written for each of {others}; give them other ids, or write them to other folders"
    return ""


def _files_read(path: Path) -> tuple[Path, ...]:
    try:
        return files_read(path)
    except (StudyError, OSError):
        return (path,)


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
