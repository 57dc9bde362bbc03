"""What is known of a run: the file ``run.json`` beside the outputs, ``run-2-of-8.json`` for one shard of it."""

from __future__ import annotations

import resource
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med.studies import StudyError, atomic_write, remove_unfinished
from rankseg_med.workflows.job import CaseT, Job
from rankseg_med.workflows.run import VERSIONS, CaseOutcome, host, now
from rankseg_med.workflows.shard import Shard

RunStatus = Literal["running", "finished", "stopped"]


class RunRecord(BaseModel):
    """A run, as it was started and as it ended.

    Attributes:
        job: Such as ``"predict"``.
        status: ``"running"`` (or killed), ``"finished"``, or ``"stopped"`` before every case was worked on.
        shard: Such as ``"2/8"``; None for all cases.
        cases: Ids of the run's cases.
        started: When, ISO 8601 with offset.
        ended: When.
        host: Machine and process.
        device: Where networks run, such as ``"cuda"``; empty where there are none.
        config_digest: Of all settings and weights.
        versions: Of the package and of what it computes with.
        totals: Number of cases by what became of them.
        failed: Case id to reason.
        stale: Case id to reason.
        stage_seconds: Wall time of each stage, summed over cases.
        peak_memory_bytes: Resident, of this process and of the largest that it started; not of a cluster's.
        seconds: Wall time of the run.
    """

    model_config = ConfigDict(frozen=True)

    job: str
    status: RunStatus
    shard: str | None
    cases: list[str]
    started: str
    host: str
    device: str
    config_digest: str
    versions: dict[str, str]
    ended: str | None = None
    totals: dict[str, int] = {}
    failed: dict[str, str] = {}
    stale: dict[str, str] = {}
    stage_seconds: dict[str, float] = {}
    peak_memory_bytes: int | None = None
    seconds: float | None = None

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read a record.

        Raises:
            StudyError: The file is none.
            OSError: It cannot be read.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise StudyError(f"{path}: is not the record of a run ({error.errors()[0]['msg']})") from error

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        with atomic_write(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def record_path(output: Path, shard: Shard | None) -> Path:
    """Where the record of a run lies."""
    name = "run" if shard is None else f"run-{shard.number}-of-{shard.of}"
    return output / f"{name}.json"


def recorded(
    job: Job[CaseT],
    cases: Sequence[CaseT],
    outcomes: Iterator[CaseOutcome[CaseT]],
    *,
    shard: Shard | None = None,
    device: str = "",
) -> Iterator[CaseOutcome[CaseT]]:
    """The same outcomes; the run is put on record when the first is asked for and when they end, however they end.

    Raises:
        StudyError: A case's sidecar would lie where the record does.
    """
    path = record_path(job.output, shard)
    if path.stem in {case.case_id for case in cases}:
        raise StudyError(f"{path.stem}: is the name of the run's own record; rename the case")
    return _recorded(job, cases, outcomes, path, shard, device)


def _recorded(
    job: Job[CaseT],
    cases: Sequence[CaseT],
    outcomes: Iterator[CaseOutcome[CaseT]],
    path: Path,
    shard: Shard | None,
    device: str,
) -> Iterator[CaseOutcome[CaseT]]:
    start = time.perf_counter()
    record = RunRecord(
        job=job.name,
        status="running",
        shard=None if shard is None else str(shard),
        cases=[case.case_id for case in cases],
        started=now(),
        host=host(),
        device=device,
        config_digest=job.digest,
        versions=VERSIONS,
    )
    remove_unfinished([path])
    record.write(path)
    totals = Counter[str]()
    reasons: dict[str, dict[str, str]] = {"failed": {}, "stale": {}}
    stage_seconds = defaultdict[str, float](float)
    try:
        for outcome in outcomes:
            totals[outcome.status] += 1
            if outcome.status in reasons:
                reasons[outcome.status][outcome.case.case_id] = outcome.reason
            for stage, seconds in zip(job.stage_names, outcome.stage_seconds, strict=False):
                stage_seconds[stage] += seconds
            yield outcome
    finally:
        ended = {
            "status": "finished" if totals.total() == len(cases) else "stopped",
            "ended": now(),
            "totals": dict(totals),
            **reasons,
            "stage_seconds": dict(stage_seconds),
            "peak_memory_bytes": _peak_memory_bytes(),
            "seconds": time.perf_counter() - start,
        }
        record.model_copy(update=ended).write(path)


def _peak_memory_bytes() -> int:
    """Linux gives kilobytes."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
