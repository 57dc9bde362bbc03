"""Items in this process, one stage busy with one while another is with the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rankseg_med.executors.executor import ItemT, OnStage, StagedWork
from rankseg_med.executors.outcome import Outcome
from rankseg_med.executors.overlapped import run_overlapped


@dataclass(frozen=True)
class InProcess:
    """In this process, loading, computing and writing overlapped; see `run_overlapped`.

    Attributes:
        memory_budget: In bytes; items wait to be loaded while those under way and they are estimated to need more.
    """

    memory_budget: int | None = None

    def __call__(
        self, work: StagedWork[ItemT], items: Iterable[ItemT], on_stage: OnStage | None
    ) -> Iterator[Outcome[ItemT, Any]]:
        """An outcome per item, in their order."""
        return run_overlapped(
            tuple(work.build()),
            items,
            memory_budget=self.memory_budget,
            memory_needed=work.memory_needed,
            on_stage=on_stage,
        )
