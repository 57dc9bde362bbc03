"""One job over many cases: resumable, each case on its own risk, everything on record."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any, Generic

import monai
import numpy as np
import torch

from rankseg_med import __version__
from rankseg_med.executors import Outcome
from rankseg_med.studies import Sidecar, StudyError, remove_unfinished
from rankseg_med.workflows.job import CaseT, Job, Status, Written
from rankseg_med.workflows.resume import Plan, fingerprint_or_nothing, plan_run
from rankseg_med.workflows.spread import IN_PROCESS, OnStage, Spread

_log = logging.getLogger(__name__)

VERSIONS = {
    "rankseg_med": __version__,
    "torch": torch.__version__,
    "monai": monai.__version__,
    "numpy": np.__version__,
    "python": platform.python_version(),
}
"""Of the package and of what it computes with, for records."""


@dataclass(frozen=True)
class CaseOutcome(Generic[CaseT]):
    """What became of a case in a run.

    Attributes:
        case: Which.
        status: ``"done"`` now, ``"skipped"`` since it was done before, ``"stale"`` (see `plan_run`) or ``"failed"``.
        paths: The files that were written now.
        reason: Why it is stale or failed.
        error: What was raised, if it failed.
        seconds: Wall time.
        stage_seconds: Wall time within each stage that was entered.
        attempts: How often it was tried in this run.
    """

    case: CaseT
    status: Status
    paths: tuple[Path, ...] = ()
    reason: str = ""
    error: Exception | None = None
    seconds: float = 0.0
    stage_seconds: tuple[float, ...] = ()
    attempts: int = 0


@dataclass(frozen=True)
class RunOptions:
    """How a job is run.

    Attributes:
        overwrite: Do again what is stale.
        retries: How often a failed case is tried again in this run, after all others.
        fail_fast: Start nothing new after a failure.
        spread: How cases are spread.
        stop: When set, nothing new is started, and what is in hand is finished.
        on_stage: Called when a case enters a stage, with the case, the stage's index and the worker's name.
    """

    overwrite: bool = False
    retries: int = 0
    fail_fast: bool = False
    spread: Spread = IN_PROCESS
    stop: Event = field(default_factory=Event)
    on_stage: OnStage | None = None


def run_job(job: Job[CaseT], cases: Sequence[CaseT], options: RunOptions | None = None) -> Iterator[CaseOutcome[CaseT]]:
    """Run a job on cases; one that fails is recorded and the others go on.

    A case is recorded in its sidecar: ``started`` before it is worked on, ``done`` once its files are in place, or
    ``failed`` with the reason. Cases that are done already, of the same input and with the same settings, are skipped;
    so a run that was stopped or killed, at whatever moment, is resumed by running it again.

    Args:
        job: What is done with a case.
        cases: Any number; their ids differ.
        options: By default in this process, without retries.

    Returns:
        An outcome per case: first those that need no work, the others as they finish. Cases that were not started when
        the run was stopped have none.

    Raises:
        StudyError: Before anything is done, see `plan_run`.
        OSError: The output folder cannot be made.
    """
    options = options or RunOptions()
    plan = plan_run(job, cases, overwrite=options.overwrite)
    try:
        job.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot make the output folder ({error.strerror})", str(job.output)) from error
    return _outcomes(job, plan, options)


def _outcomes(job: Job[CaseT], plan: Plan[CaseT], options: RunOptions) -> Iterator[CaseOutcome[CaseT]]:
    for case in plan.done:
        yield CaseOutcome(case, "skipped")
    for case, reason in plan.stale:
        yield CaseOutcome(case, "stale", reason=reason)
    # Of those that need no work as well: a worker that outlived its killed run for a moment may have left a second copy
    # of what the next run, killed in turn, had done already.
    cases = (*plan.done, *(case for case, _ in plan.stale), *plan.todo)
    files = [path for case in cases for path in _files_of(job, case)]
    remove_unfinished(files)
    try:
        yield from _attempts(job, plan.todo, options)
    finally:
        # Of processes that were killed, also for another case than the one whose file it was.
        remove_unfinished(files)


def _attempts(job: Job[CaseT], todo: Sequence[CaseT], options: RunOptions) -> Iterator[CaseOutcome[CaseT]]:
    to_retry: dict[str, CaseOutcome[CaseT]] = {}
    # As they were when a case was started: what changes meanwhile is not what the outputs are of.
    fingerprints: dict[str, str] = {}
    for attempt in range(1, options.retries + 2):
        cases = _started(job, todo, options.stop, fingerprints)
        for outcome in options.spread(job, cases, options.on_stage):
            case_id = outcome.item.case_id
            ended = _recorded(job, outcome, attempt, fingerprints[case_id])
            to_retry.pop(case_id, None)
            if ended.status == "failed" and options.fail_fast:
                options.stop.set()
            if ended.status == "failed" and attempt <= options.retries:
                _log.warning("%s: failed, will be tried again: %s", case_id, ended.reason)
                to_retry[case_id] = ended
            else:
                yield ended
        if options.stop.is_set() or not to_retry:
            break
        todo = [ended.case for ended in to_retry.values()]
    yield from to_retry.values()


def _started(job: Job[CaseT], cases: Sequence[CaseT], stop: Event, fingerprints: dict[str, str]) -> Iterator[CaseT]:
    """Cases as workers ask for them, each with a record that it was started; none once the run is stopped."""
    for case in cases:
        if stop.is_set():
            return
        fingerprints[case.case_id] = fingerprint_or_nothing(job, case)
        _record(job, case, "started", input_fingerprint=fingerprints[case.case_id])
        yield case


def _recorded(job: Job[CaseT], outcome: Outcome[CaseT, Written], attempt: int, fingerprint: str) -> CaseOutcome[CaseT]:
    """What became of a case, once its sidecar says so."""
    ended = CaseOutcome(
        outcome.item,
        "done" if outcome.error is None else "failed",
        () if outcome.result is None else outcome.result.paths,
        "" if outcome.error is None else _reason(outcome.error),
        outcome.error,
        outcome.seconds,
        outcome.stage_seconds,
        attempt,
    )
    entries: dict[str, Any] = {
        "input_fingerprint": fingerprint,
        "seconds": outcome.seconds,
        "stage_seconds": dict(zip(job.stage_names, outcome.stage_seconds, strict=False)),
    }
    try:
        if outcome.result is not None:
            _record(job, ended.case, "done", **entries, **outcome.result.details)
        else:
            _record(job, ended.case, "failed", **entries, error=ended.reason, traceback=outcome.traceback)
    except OSError as error:
        # Such as a full disk, which may be why it failed: the outcome says so, if nothing else can.
        reason = f"{ended.reason}; " if ended.reason else ""
        return replace(ended, status="failed", reason=f"{reason}cannot be recorded: {error}", error=error)
    return ended


def _record(job: Job[CaseT], case: CaseT, status: str, **entries: Any) -> None:  # noqa: ANN401 - what JSON can hold
    Sidecar.model_validate(
        {
            "case_id": case.case_id,
            "job": job.name,
            "status": status,
            "inputs": [str(path) for path in job.inputs_of(case)],
            "config_digest": job.digest,
            "outputs": [path.name for path in job.outputs_of(case)],
            "time": now(),
            "host": host(),
            "versions": VERSIONS,
            **entries,
        }
    ).write(job.output)


def _files_of(job: Job[CaseT], case: CaseT) -> tuple[Path, ...]:
    return (*job.outputs_of(case), Sidecar.path_in(job.output, case.case_id))


def _reason(error: Exception) -> str:
    """One line; errors of other libraries say too little without their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, StudyError) else f"{type(error).__name__}: {text}"


def now() -> str:
    """The time, ISO 8601 with offset."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def host() -> str:
    """This machine and process."""
    return f"{platform.node()}:{os.getpid()}"
