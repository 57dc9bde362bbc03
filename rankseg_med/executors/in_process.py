"""One study after another in this process, each on its own risk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from rankseg_med.executors.outcome import Item, Outcome, Result
from rankseg_med.executors.overlapped import run_overlapped


def run_in_process(
    job: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    on_stage: Callable[[Item, int, str], None] | None = None,
) -> Iterator[Outcome[Item, Result]]:
    """Run a job on each item in order, in the calling thread; an item that raises does not stop the others.

    ``on_stage`` is told of every item as it starts, as in ``run_overlapped``. Tracebacks go to the log at debug level.
    ``KeyboardInterrupt`` and ``SystemExit`` are not caught.
    """
    return run_overlapped((job,), items, on_stage=on_stage)
