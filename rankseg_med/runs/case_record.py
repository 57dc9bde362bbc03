"""What became of a case, and putting it on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic

from rankseg_med.executors import Outcome
from rankseg_med.runs.claims import Claim, FolderHeldError
from rankseg_med.runs.job import CaseT, Job, Status, Written, results_digest
from rankseg_med.runs.provenance import VERSIONS, host, now
from rankseg_med.runs.resume import fingerprint_or_nothing
from rankseg_med.studies import OutputFile, Sidecar, SidecarStatus, StudyError


@dataclass(frozen=True)
class CaseOutcome(Generic[CaseT]):
    """What became of a case in a run.

    Attributes:
        case: Which.
        status: ``"done"`` now, ``"skipped"`` since it was done before, ``"stale"`` (see `state_of`) or ``"failed"``.
        paths: The files that were written now.
        details: The job's entries in the sidecar of a case that is done, now or before.
        reason: Why it is stale or failed.
        error: What was raised, if it failed.
        seconds: Wall time.
        stage_seconds: Wall time within each stage that was entered.
        attempts: How often it was tried in this run.
    """

    case: CaseT
    status: Status
    paths: tuple[Path, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    error: Exception | None = None
    seconds: float = 0.0
    stage_seconds: tuple[float, ...] = ()
    attempts: int = 0

    @classmethod
    def failed(cls, case: CaseT, error: Exception) -> CaseOutcome[CaseT]:
        """A case that was not even tried."""
        return cls(case, "failed", reason=reason_of(error), error=error)


def record_started(job: Job[CaseT], case: CaseT, input_fingerprint: str) -> None:
    """Write the sidecar of a case that is about to be worked on.

    Raises:
        OSError: It cannot be written.
    """
    _write(job, case, "started", input_fingerprint=input_fingerprint)


def record_end(
    job: Job[CaseT], outcome: Outcome[CaseT, Written], input_fingerprint: str, claim: Claim, attempts: int
) -> CaseOutcome[CaseT]:
    """Write the sidecar of a case that has come to its end; it is done only once that is on record.

    Args:
        job: What was done.
        outcome: What came of it.
        input_fingerprint: Fingerprint of the case's input when it was started.
        claim: On the folder.
        attempts: How often the case was tried.

    Returns:
        The end as it is on record: a case whose input changed meanwhile, or that cannot be recorded as done, has
        failed.
    """
    case = outcome.item
    ended = CaseOutcome(
        case,
        "failed",
        error=outcome.error,
        reason="" if outcome.error is None else reason_of(outcome.error),
        seconds=outcome.seconds,
        stage_seconds=outcome.stage_seconds,
        attempts=attempts,
    )
    entries: dict[str, Any] = {
        "input_fingerprint": input_fingerprint,
        "seconds": outcome.seconds,
        "stage_seconds": dict(zip(job.stage_names, outcome.stage_seconds, strict=False)),
    }
    try:
        claim.check()
        if outcome.result is not None:
            _check_same_input(job, case, input_fingerprint)
            outputs = {Sidecar.name_in(job.records, path): OutputFile.of(path) for path in job.outputs_of(case)}
            _write(job, case, "done", outputs=outputs, **entries, **outcome.result.details)
            return replace(ended, status="done", paths=outcome.result.paths, details=outcome.result.details)
    except FolderHeldError as error:
        return replace(ended, reason=str(error), error=error)
    except (StudyError, OSError) as error:
        ended = replace(ended, reason=reason_of(error), error=error)
    try:
        _write(job, case, "failed", **entries, error=ended.reason, traceback=outcome.traceback)
    except OSError as error:
        # Such as a full disk, which may be why it failed: the outcome says so, if nothing else can.
        return replace(ended, reason=f"{ended.reason}; cannot be recorded: {error}", error=error)
    return ended


def reason_of(error: Exception) -> str:
    """One line; errors of other libraries say too little without their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, StudyError) else f"{type(error).__name__}: {text}"


def _check_same_input(job: Job[CaseT], case: CaseT, before: str) -> None:
    now_there = fingerprint_or_nothing(job, case)
    if not before or now_there != before:
        files = ", ".join(map(str, job.inputs_of(case)))
        raise StudyError(
            f"{files}: the input changed, or could not be read as a whole, while it was worked on, so it is not known "
            "what the outputs are of; run it again"
        )


def _write(job: Job[CaseT], case: CaseT, status: SidecarStatus, **entries: Any) -> None:  # noqa: ANN401 - what JSON can hold
    Sidecar.model_validate(
        {
            "case_id": case.case_id,
            "job": job.name,
            "status": status,
            "inputs": [str(path) for path in job.inputs_of(case)],
            "config_digest": results_digest(job),
            "settings": dict(job.settings),
            "outputs": {},
            "time": now(),
            "host": host(),
            "versions": VERSIONS,
            **entries,
        }
    ).write(job.records)
