"""One job over many cases: resumable, each case on its own risk, everything on record."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Generic

from rankseg_med.executors import Executor, InProcess, OnStage
from rankseg_med.runs.case_record import CaseOutcome, record_end, record_started
from rankseg_med.runs.claims import Claim, claimed
from rankseg_med.runs.guards import check_nothing_is_replaced, files_of, refusals
from rankseg_med.runs.job import CaseT, Job, results_digest
from rankseg_med.runs.plan import PLAN, record_plan
from rankseg_med.runs.resume import fingerprint_or_nothing, state_of
from rankseg_med.runs.run_record import RunRecorder, record_path
from rankseg_med.runs.shard import Shard
from rankseg_med.studies import StudyError, remove_unfinished

__all__ = ["CaseOutcome", "RunOptions", "run_job"]

_log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.5


@dataclass(frozen=True)
class RunOptions:
    """How a job is run.

    Attributes:
        overwrite: Do again what is stale.
        retries: How often a failed case is tried again in this run, after all others.
        fail_fast: Start nothing new after a failure.
        executor: How cases are spread over stages, processes or machines.
        stop: When set, nothing new is started, and what is in hand is finished. The run itself never sets it.
        on_stage: Called when a case enters a stage, with the case, the stage's index and the worker's name.
        shard: Do only this part of the cases.
        device: Device where networks run, for the record.
        refused: Why some of what was listed is not among the cases, for the record.
    """

    overwrite: bool = False
    retries: int = 0
    fail_fast: bool = False
    executor: Executor = field(default_factory=InProcess)
    stop: Event = field(default_factory=Event)
    on_stage: OnStage | None = None
    shard: Shard | None = None
    device: str = ""
    refused: Sequence[str] = ()


def run_job(job: Job[CaseT], cases: Sequence[CaseT], options: RunOptions | None = None) -> Iterator[CaseOutcome[CaseT]]:
    """Run a job on cases; one that fails is recorded and the others go on.

    A case is recorded in its sidecar: ``started`` before it is worked on, ``done`` once its files are in place, or
    ``failed`` with the reason. Cases that are done already, of the same input and with the same settings, are skipped;
    so a run that was stopped or killed, at whatever moment, is resumed by running it again. The run itself is recorded
    in ``run.json``, and all cases, of every shard, in ``plan.json``.

    Runs of the same job and settings may work in one folder at the same time, on one machine or several: each case is
    done by one of them, and each run ends when all its cases have come to an end.

    Args:
        job: What is done with a case.
        cases: Any number. Those that have one id, or would write one file, fail and are not worked on.
        options: Options; by default in this process, without retries.

    Returns:
        An outcome per case: first those that need no work, the others as they finish. Cases that were not started when
        the run was stopped have none.

    Raises:
        StudyError: Before anything is done: a file of the run would replace an input or a label of any case; or, when
            the first outcome is asked for, a run with other settings works in the folder, or ``plan.json`` in it is
            something else.
        OSError: The output folder, or a file that the run keeps there, cannot be made.
    """
    options = options or RunOptions()
    check_nothing_is_replaced(job, cases)
    try:
        job.records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot make the output folder ({error.strerror})", str(job.output)) from error
    return _recorded(job, cases, options)


def _recorded(job: Job[CaseT], cases: Sequence[CaseT], options: RunOptions) -> Iterator[CaseOutcome[CaseT]]:
    mine = list(cases) if options.shard is None else options.shard.of_cases(cases)
    with claimed(job.records, job.name, results_digest(job)) as claim:
        record_plan(job.records, [case.case_id for case in cases])
        with RunRecorder(job, mine, options.shard, options.device, options.refused) as recorder:
            for outcome in _Run(job, options, claim).outcomes(mine):
                recorder.add(outcome)
                yield outcome


class _Run(Generic[CaseT]):
    """Rounds over the cases: those that fail, or that another run has in hand, are in the next one again."""

    def __init__(self, job: Job[CaseT], options: RunOptions, claim: Claim) -> None:
        self._job = job
        self._options = options
        self._claim = claim
        self._attempts = Counter[str]()
        # As they were when a case was started: what changes meanwhile is not what the outputs are of.
        self._fingerprints: dict[str, str] = {}
        self._has_failed_fast = False
        # Failed, and to be tried again after all others.
        self._to_retry: dict[str, CaseOutcome[CaseT]] = {}
        # Cases are drawn in a thread of the executor's, where some come to their end already.
        self._settled = deque[CaseOutcome[CaseT]]()
        self._elsewhere = deque[CaseT]()

    def outcomes(self, cases: Sequence[CaseT]) -> Iterator[CaseOutcome[CaseT]]:
        """See every case to its end."""
        todo = list[CaseT]()
        own_records = {PLAN, record_path(self._job.records, self._options.shard).stem}
        for case, refusal in zip(cases, refusals(self._job, cases, own_records), strict=True):
            if refusal:
                yield CaseOutcome.failed(case, StudyError(refusal))
            else:
                todo.append(case)
        # Of those that need no work as well: a worker that outlived its killed run for a moment may have left a second
        # copy of what the next run, killed in turn, had done already.
        files = [path for case in todo for path in files_of(self._job, case)]
        remove_unfinished(files)
        try:
            todo = yield from self._without_work(todo)
            while todo and not self._is_stopped():
                yield from self._round(todo)
                todo = yield from self._without_work(
                    [*(ended.case for ended in self._to_retry.values()), *self._left_by_others()]
                )
            yield from self._to_retry.values()
        finally:
            # Of processes that were killed, also for another case than the one whose file it was.
            remove_unfinished(files)

    def _is_stopped(self) -> bool:
        return self._has_failed_fast or self._options.stop.is_set()

    def _without_work(self, cases: Sequence[CaseT]) -> Generator[CaseOutcome[CaseT], None, list[CaseT]]:
        """Yield the outcomes of those that need no work, and return the others."""
        todo = []
        for case in cases:
            if (ended := self._earlier_end(case)) is None:
                todo.append(case)
            else:
                self._to_retry.pop(case.case_id, None)
                yield ended
        return todo

    def _earlier_end(self, case: CaseT) -> CaseOutcome[CaseT] | None:
        """What became of a case by the work of earlier runs; None if it is to be worked on."""
        try:
            found = state_of(self._job, case)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one case must not stop the others
            return CaseOutcome.failed(case, error)
        if found.state == "done":
            return CaseOutcome(case, "skipped", details=found.details)
        if found.state == "stale" and not self._options.overwrite:
            return CaseOutcome(case, "stale", reason=found.reason)
        return None

    def _round(self, todo: Sequence[CaseT]) -> Iterator[CaseOutcome[CaseT]]:
        """Work on cases; the outcomes of those that are not to be tried again."""
        for outcome in self._options.executor(self._job, self._draw(todo), self._options.on_stage):
            case_id = outcome.item.case_id
            ended = record_end(self._job, outcome, self._fingerprints[case_id], self._claim, self._attempts[case_id])
            self._claim.give_back(case_id)
            self._settled.append(ended)
            yield from self._final()
        yield from self._final()

    def _final(self) -> Iterator[CaseOutcome[CaseT]]:
        """The outcomes that have come in, but for failures that are to be tried again."""
        while self._settled:
            outcome = self._settled.popleft()
            case_id = outcome.case.case_id
            self._to_retry.pop(case_id, None)
            if outcome.status == "failed" and self._options.fail_fast:
                self._has_failed_fast = True
            if outcome.status == "failed" and self._attempts[case_id] <= self._options.retries:
                _log.warning("%s: failed, will be tried again: %s", case_id, outcome.reason)
                self._to_retry[case_id] = outcome
            else:
                yield outcome

    def _draw(self, todo: Sequence[CaseT]) -> Iterator[CaseT]:
        """Cases as workers ask for them, each claimed and with a record that it was started."""
        for case in todo:
            if self._is_stopped():
                return
            if self._begin(case):
                yield case

    def _begin(self, case: CaseT) -> bool:
        """Whether the case is this run's to work on; if not, it is known why."""
        case_id = case.case_id
        self._attempts[case_id] += 1
        try:
            if not self._claim.take(case_id):
                self._attempts[case_id] -= 1
                self._elsewhere.append(case)
                return False
            # Another run may have done it since this one looked.
            ended = self._earlier_end(case)
            if ended is None:
                self._fingerprints[case_id] = fingerprint_or_nothing(self._job, case)
                record_started(self._job, case, self._fingerprints[case_id])
                return True
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one case must not stop the others
            ended = CaseOutcome.failed(case, error)
        self._claim.give_back(case_id)
        self._settled.append(ended)
        return False

    def _left_by_others(self) -> list[CaseT]:
        """Cases that other runs had in hand; with nothing else to do, once these runs are through with them."""
        cases = [self._elsewhere.popleft() for _ in range(len(self._elsewhere))]
        if cases and not self._to_retry:
            _log.info("waiting for %d cases that another run of the same settings has in hand", len(cases))
            while any(self._claim.is_held(case.case_id) for case in cases) and not self._is_stopped():
                self._options.stop.wait(_LOOK_AGAIN_S)
        return cases
