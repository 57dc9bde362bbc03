"""What is known of a run: the file ``run.json`` beside the outputs, ``run-2-of-8.json`` for one shard of it."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med.runs.case_record import CaseOutcome
from rankseg_med.runs.job import CaseT, Job, results_digest
from rankseg_med.runs.provenance import VERSIONS, host, now
from rankseg_med.runs.shard import Shard
from rankseg_med.studies import StudyError, check_regular_file, remove_unfinished, write_text

_log = logging.getLogger(__name__)

RunStatus = Literal["running", "finished", "stopped"]


class RunRecord(BaseModel):
    """A run, as it was started and as it ended.

    Attributes:
        job: Such as ``"predict"``.
        status: ``"running"`` (or killed), ``"finished"``, or ``"stopped"`` before every case was worked on.
        shard: Such as ``"2/8"``; None for all cases.
        cases: Ids of the run's cases.
        refused: What was listed beside them and could not be worked on, with the reason.
        started: When, ISO 8601 with offset.
        ended: When.
        host: Machine and process.
        device: Where networks run, such as ``"cuda"``; empty where there are none.
        config_digest: Digest of all settings and weights, and of the version of the job's results.
        versions: Versions of the package and of what it computes with.
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
    refused: list[str] = []
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
        check_regular_file(path)
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise StudyError(f"{path}: is not the record of a run ({error.errors()[0]['msg']})") from error

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_text(self.model_dump_json(indent=2) + "\n", path)


def record_path(records: Path, shard: Shard | None) -> Path:
    """Where the record of a run lies."""
    name = "run" if shard is None else f"run-{shard.number}-of-{shard.of}"
    return records / f"{name}.json"


class RunRecorder:
    """Keeps the record of a run: written when it begins, and again when it ends, however it ends.

    Args:
        job: What is done.
        cases: With it, in this run.
        shard: Which part of all cases they are.
        device: Where networks run.
        refused: Why some of what was listed is not among the cases.
    """

    def __init__(
        self, job: Job[CaseT], cases: Sequence[CaseT], shard: Shard | None, device: str, refused: Sequence[str]
    ) -> None:
        self._stage_names = job.stage_names
        self._path = record_path(job.records, shard)
        self._record = RunRecord(
            job=job.name,
            status="running",
            shard=None if shard is None else str(shard),
            cases=[case.case_id for case in cases],
            refused=list(refused),
            started=now(),
            host=host(),
            device=device,
            config_digest=results_digest(job),
            versions=VERSIONS,
        )
        self._start = time.perf_counter()
        self._totals = Counter[str]()
        self._reasons: dict[str, dict[str, str]] = {"failed": {}, "stale": {}}
        self._stage_seconds = defaultdict[str, float](float)

    def __enter__(self) -> RunRecorder:
        remove_unfinished([self._path])
        self._record.write(self._path)
        return self

    def add(self, outcome: CaseOutcome[Any]) -> None:
        """A case has come to its end."""
        self._totals[outcome.status] += 1
        if outcome.status in self._reasons:
            self._reasons[outcome.status][outcome.case.case_id] = outcome.reason
        for stage, seconds in zip(self._stage_names, outcome.stage_seconds, strict=False):
            self._stage_seconds[stage] += seconds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ended = self._record.model_copy(
            update={
                "status": "finished" if self._totals.total() == len(self._record.cases) else "stopped",
                "ended": now(),
                "totals": dict(self._totals),
                **self._reasons,
                "stage_seconds": dict(self._stage_seconds),
                "peak_memory_bytes": _peak_memory_bytes(),
                "seconds": time.perf_counter() - self._start,
            }
        )
        # On a full disk there may be room for the second, once the first record is gone, and if not: no record of the
        # run is better than one that says it is still running. What became of cases must be told all the same.
        for record in (ended, ended.model_copy(update={"failed": {}, "stale": {}})):
            try:
                record.write(self._path)
                return
            except OSError as failure:
                _log.error("%s: the run cannot be recorded: %s", self._path, failure)
                self._path.unlink(missing_ok=True)


def _peak_memory_bytes() -> int:
    """Linux gives kilobytes."""
    import resource  # Unix alone has it

    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
