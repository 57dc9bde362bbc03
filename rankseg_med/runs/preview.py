"""What a run would do, found out without doing or writing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rankseg_med.runs.guards import check_nothing_is_replaced, refusals
from rankseg_med.runs.job import CaseT, Job
from rankseg_med.runs.plan import PLAN
from rankseg_med.runs.resume import state_of
from rankseg_med.runs.run_record import record_path
from rankseg_med.runs.shard import Shard


@dataclass(frozen=True)
class CasePreview:
    """What a run would do with a case.

    Attributes:
        case_id: Which.
        state: ``"todo"``; ``"done"`` before, to be skipped; ``"stale"`` (see `state_of`); or ``"refused"``, since it
            clashes with another or its files cannot be read.
        reason: Why it is stale or refused; of what is to be done again, why it was stale.
        memory_bytes: Estimate of what it needs at its worst moment, of cases to be done.
    """

    case_id: str
    state: Literal["todo", "done", "stale", "refused"]
    reason: str = ""
    memory_bytes: int = 0


def preview(
    job: Job[CaseT], cases: Sequence[CaseT], shard: Shard | None = None, *, overwrite: bool = False
) -> Iterator[CasePreview]:
    """Look at every case as `run_job` would; nothing is written.

    Args:
        job: What would be done.
        cases: All cases.
        shard: Only this part of them.
        overwrite: Whether what is stale would be done again.

    Raises:
        StudyError: A file of the run would replace an input or a label.
    """
    check_nothing_is_replaced(job, cases)
    mine = list(cases) if shard is None else shard.of_cases(cases)
    reserved = {PLAN, record_path(job.records, shard).stem}
    for case, refusal in zip(mine, refusals(job, mine, reserved), strict=True):
        if refusal:
            yield CasePreview(case.case_id, "refused", refusal)
            continue
        try:
            found = state_of(job, case)
            memory = 0 if found.state == "done" else job.memory_needed(case)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one case must not hide the others
            yield CasePreview(case.case_id, "refused", f"{type(error).__name__}: {error}")
        else:
            state = "todo" if overwrite and found.state == "stale" else found.state
            yield CasePreview(case.case_id, state, found.reason, memory)
