"""A run as one watches it: a live table on a terminal, timestamped lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.align import Align
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rankseg_med.cli.console import messages

if TYPE_CHECKING:
    from rankseg_med.runs import CaseOutcome

_log = logging.getLogger(__name__)

_BAR_WIDTH = 60
_FIRST_RATE_AFTER_S = 60


class LiveRun:
    """Shows how many cases are done, how fast, how long it will take, and what every worker does.

    Args:
        title: Title of the run.
        total: Number of cases; None if it is not known beforehand.
        stage_names: Names of the stages of the job.
    """

    def __init__(self, title: str, total: int | None, stage_names: Sequence[str]) -> None:
        self._title = title
        self._total = total
        self._stage_names = stage_names
        self._counts = Counter[str]()
        self._start = time.monotonic()
        # By worker and stage: the case that is in it, and since when. Workers call from their own threads.
        self._current: dict[tuple[str, int], tuple[str, float]] = {}
        self._lock = Lock()
        self._live = Live(get_renderable=self._render, console=messages, refresh_per_second=4, transient=True)
        self._is_shown = messages.shows_progress

    def __enter__(self) -> LiveRun:
        if self._is_shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_shown:
            self._live.stop()

    def on_stage(self, case: Any, stage: int, worker: str) -> None:  # noqa: ANN401 - whatever the job works on
        """A case enters a stage."""
        with self._lock:
            self._forget(case.case_id)
            self._current[worker, stage] = case.case_id, time.monotonic()

    def on_outcome(self, outcome: CaseOutcome[Any]) -> None:
        """A case has come to its end."""
        with self._lock:
            self._counts[outcome.status] += 1
            self._forget(outcome.case.case_id)
        case_id = outcome.case.case_id
        if outcome.status == "done":
            _log.info("%s: done in %.1f s (%s)", case_id, outcome.seconds, self._summary())
        elif outcome.status == "failed":
            # The report at the end says why, once.
            _log.error("%s: failed (%s)", case_id, self._summary())
        elif outcome.status == "stale":
            _log.warning("%s: stale: %s", case_id, outcome.reason)
        else:
            _log.debug("%s: done before", case_id)

    def _forget(self, case_id: str) -> None:
        self._current = {place: entry for place, entry in self._current.items() if entry[0] != case_id}

    def _summary(self) -> str:
        ended = self._counts.total()
        text = str(ended) if self._total is None else f"{ended} of {self._total}"
        worked = self._counts["done"] + self._counts["failed"]
        seconds = time.monotonic() - self._start
        # Before, a rate says more about the first case's imports than about the next hours.
        if worked and ended != self._total and seconds >= _FIRST_RATE_AFTER_S:
            per_case = seconds / worked
            text += f", {3600 / per_case:.0f} an hour"
            if self._total is not None:
                text += f", {timedelta(seconds=round(per_case * (self._total - ended)))} left"
        return text

    def _render(self) -> RenderableType:
        with self._lock:
            counts = ", ".join(f"{number} {status}" for status, number in sorted(self._counts.items()))
            table = Table("worker", "stage", "case", "seconds", box=None, pad_edge=False)
            for (worker, stage), (case_id, since) in sorted(self._current.items()):
                seconds = f"{time.monotonic() - since:.0f}"
                table.add_row(worker, self._stage_names[stage], Text(case_id), seconds)
            bar = Align.left(ProgressBar(self._total, self._counts.total(), width=_BAR_WIDTH))
            return Group(Text(f"{self._title}: {self._summary()}; {counts}"), bar, table)
