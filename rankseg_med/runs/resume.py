"""What earlier runs have done of a case, and whether it holds for this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Generic, Literal

from rankseg_med.runs.job import CaseT, Job, results_digest
from rankseg_med.studies import Sidecar, StudyError, fingerprint

# Of what has changed: how many settings are named, and how much of a value is shown.
_MOST = 3
_LONGEST = 60


@dataclass(frozen=True)
class CaseState(Generic[CaseT]):
    """What the output folder holds of a case.

    Attributes:
        state: ``"todo"``; ``"done"`` already, with the same input and settings; or ``"stale"``: what is there is not
            what this run would write.
        reason: Why it is stale.
        details: The job's entries in the sidecar of what is done.
    """

    state: Literal["todo", "done", "stale"]
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def state_of(job: Job[CaseT], case: CaseT) -> CaseState[CaseT]:
    """Look up what the output folder holds of a case.

    Done is what a sidecar says was done, with all its files in place and as they were written. What was started and not
    finished, or failed, is to be done again; so is what lost a file, where nothing that is left was changed since.
    Stale is what was made of other input, with other settings or by a version of the package with other results, or in
    another format, or was changed since; and files that no sidecar speaks of, or none that can be read: they may be
    anybody's.
    """
    path = Sidecar.path_in(job.records, case.case_id)
    outputs = job.outputs_of(case)
    present = [output for output in outputs if output.exists()]
    try:
        sidecar = Sidecar.read(path)
    except FileNotFoundError:
        names = ", ".join(output.name for output in present)
        return _stale(f"{names} was not written by a run that left a record") if present else CaseState("todo")
    except (StudyError, OSError) as error:
        return _stale(str(error))
    if sidecar.case_id != case.case_id:
        return _stale(f"{path.name} is the sidecar of another case, {sidecar.case_id!r}")
    if sidecar.status != "done":
        return CaseState("todo")
    if len(present) < len(outputs) and not sidecar.altered(job.records, present):
        others = sorted(sidecar.outputs.keys() - {Sidecar.name_in(job.records, output) for output in outputs})
        left = [name for name in others if (job.records / name).exists()]
        return _stale(f"{', '.join(left)} was written {sidecar.time} in its place") if left else CaseState("todo")
    if sidecar.job != job.name:
        return _stale(f"written by {sidecar.job}, not {job.name}")
    if sidecar.config_digest != results_digest(job):
        return _stale(f"written {sidecar.time} {_differently(sidecar.settings, job.settings)}")
    if altered := sidecar.altered(job.records, present):
        return _stale(f"changed since it was written {sidecar.time}: {'; '.join(altered)}")
    if not sidecar.input_fingerprint or sidecar.input_fingerprint != fingerprint_or_nothing(job, case):
        return _stale(f"written {sidecar.time} of another input")
    return CaseState("done", details=sidecar.details)


def _differently(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """In what way another digest came about."""
    if not before:
        return "with other settings or weights, or by another version of the package"
    changed = [id for id in {**before, **now} if before.get(id) != now.get(id)]
    if not changed:
        return "with the same settings, by another version of the package"
    shown = [
        f"{id} was {shorten(before.get(id, 'not there'), _LONGEST)}, is {shorten(now.get(id, 'not there'), _LONGEST)}"
        for id in changed[:_MOST]
    ]
    more = f"; and {len(changed) - _MOST} more" if len(changed) > _MOST else ""
    return f"with other settings: {'; '.join(shown)}{more}"


def _stale(reason: str) -> CaseState[Any]:
    return CaseState("stale", reason)


def fingerprint_or_nothing(job: Job[CaseT], case: CaseT) -> str:
    """Fingerprint of a case's inputs; empty where they cannot be read, which is for the job to report."""
    try:
        return fingerprint(job.inputs_of(case), getattr(case, "read_as", ""))
    except (StudyError, OSError):
        return ""
