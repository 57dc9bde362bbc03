"""How a job's cases are spread: over stages in this process, over processes, or over a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from rankseg_med.executors import Outcome, run_in_processes, run_on_ray, run_overlapped
from rankseg_med.runs.job import CaseT, Job, Written

OnStage = Callable[[Any, int, str], None]


@runtime_checkable
class Spread(Protocol):
    """Runs a job's stages on cases."""

    def __call__(
        self, job: Job[CaseT], cases: Iterable[CaseT], on_stage: OnStage | None
    ) -> Iterator[Outcome[CaseT, Written]]:
        """An outcome per case, as each finishes; no more cases are drawn than can be worked on."""
        ...


@dataclass(frozen=True)
class InProcess:
    """In this process, loading, computing and writing overlapped.

    Attributes:
        memory_budget: In bytes; cases wait to be loaded while those under way and they are estimated to need more.
    """

    memory_budget: int | None = None

    def __call__(
        self, job: Job[CaseT], cases: Iterable[CaseT], on_stage: OnStage | None
    ) -> Iterator[Outcome[CaseT, Written]]:
        """An outcome per case, in their order."""
        return run_overlapped(
            tuple(job.build()),
            cases,
            memory_budget=self.memory_budget,
            memory_needed=job.memory_needed,
            on_stage=on_stage,
        )


@dataclass(frozen=True)
class InProcesses:
    """In processes of their own, which may end: for lack of memory, or because a case takes too long.

    Attributes:
        workers: Number of processes, each with all that a job builds; they share torch's threads out.
        timeout_s: Seconds that a case may spend in stages.
        memory_budget: In bytes, of all processes; see `InProcess`.
    """

    workers: int = 1
    timeout_s: float | None = None
    memory_budget: int | None = None

    def __call__(
        self, job: Job[CaseT], cases: Iterable[CaseT], on_stage: OnStage | None
    ) -> Iterator[Outcome[CaseT, Written]]:
        """An outcome per case, as each finishes."""
        return run_in_processes(
            job.build,
            cases,
            workers=self.workers,
            timeout_s=self.timeout_s,
            memory_budget=self.memory_budget,
            memory_needed=job.memory_needed,
            on_stage=on_stage,
        )


@dataclass(frozen=True)
class OnRay:
    """On a Ray cluster; outputs go to a folder that all its nodes share.

    Attributes:
        address: Of the cluster, such as ``"auto"``; None starts one on this machine for the run.
        workers: Number of actors, each with all that a job builds; by default as many as the cluster has room for.
        gpus_per_worker: May be a fraction.
        cpus_per_worker: Cores, and torch threads, of each; see `run_on_ray`.
        timeout_s: Seconds that a case may spend in stages.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float = 0
    cpus_per_worker: float | None = None
    timeout_s: float | None = None

    def __call__(
        self, job: Job[CaseT], cases: Iterable[CaseT], on_stage: OnStage | None
    ) -> Iterator[Outcome[CaseT, Written]]:
        """An outcome per case, as each finishes."""
        return run_on_ray(
            job.build,
            cases,
            address=self.address,
            workers=self.workers,
            gpus_per_worker=self.gpus_per_worker,
            cpus_per_worker=self.cpus_per_worker,
            timeout_s=self.timeout_s,
            on_stage=on_stage,
        )


IN_PROCESS: Spread = InProcess()
