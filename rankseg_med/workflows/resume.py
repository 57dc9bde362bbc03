"""What a run has to do, and what earlier runs have done already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from rankseg_med.studies import Sidecar, StudyError, fingerprint
from rankseg_med.workflows.job import CaseT, Job


@dataclass(frozen=True)
class Plan(Generic[CaseT]):
    """The cases of a run.

    Attributes:
        todo: To be worked on.
        done: Done already, with the same input and settings.
        stale: With the reason why what is there is not what this run would write; left alone.
    """

    todo: list[CaseT] = field(default_factory=list)
    done: list[CaseT] = field(default_factory=list)
    stale: list[tuple[CaseT, str]] = field(default_factory=list)


def plan_run(job: Job[CaseT], cases: Sequence[CaseT], *, overwrite: bool = False) -> Plan[CaseT]:
    """Sort cases by what the output folder holds of them.

    Done is what a sidecar says was done, with all its files in place. What was started and not finished, or failed, is
    done again. Stale is what was made of other input or with other settings, and files that no sidecar speaks of: they
    may be anybody's.

    Args:
        job: What is to be done.
        cases: With it.
        overwrite: Do stale cases again.

    Raises:
        StudyError: Outputs would replace an input or one another, or a file in a sidecar's place is none.
    """
    _check_no_file_is_replaced(job, cases)
    plan = Plan[CaseT]()
    for case in cases:
        reason = _reason_to_leave(job, case)
        if reason is None or (reason and overwrite):
            plan.todo.append(case)
        elif reason:
            plan.stale.append((case, reason))
        else:
            plan.done.append(case)
    return plan


def _reason_to_leave(job: Job[CaseT], case: CaseT) -> str | None:
    """None if the case is to be worked on, nothing if it is done, else why it is stale."""
    path = Sidecar.path_in(job.output, case.case_id)
    present = [output.name for output in job.outputs_of(case) if output.exists()]
    if not path.exists():
        return f"{', '.join(present)} was not written by a run that left a record" if present else None
    sidecar = Sidecar.read(path)
    if sidecar.status != "done" or len(present) < len(job.outputs_of(case)):
        return None
    if sidecar.job != job.name:
        return f"written by {sidecar.job}, not {job.name}"
    if sidecar.config_digest != job.digest:
        return f"written {sidecar.time} with other settings or weights"
    if sidecar.input_fingerprint != fingerprint_or_nothing(job, case):
        return f"written {sidecar.time} of another input"
    return ""


def fingerprint_or_nothing(job: Job[CaseT], case: CaseT) -> str:
    """Of a case's inputs; empty where they cannot be read, which is for the job to report."""
    try:
        return fingerprint(job.inputs_of(case))
    except OSError:
        return ""


def _check_no_file_is_replaced(job: Job[CaseT], cases: Sequence[CaseT]) -> None:
    inputs = {path.resolve() for case in cases for path in job.inputs_of(case)}
    written_for: dict[Path, str] = {}
    for case in cases:
        for path in (*job.outputs_of(case), Sidecar.path_in(job.output, case.case_id)):
            if path.resolve() in inputs:
                raise StudyError(f"{path}: an output would replace an input; write to another folder")
            if path in written_for:
                raise StudyError(
                    f"{path}: would be written for {written_for[path]!r} and again for {case.case_id!r}; give one of "
                    "them another id, or write it to another folder"
                )
            written_for[path] = case.case_id
