"""One study after another in this process, each on its own risk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: a result or the error that stopped it.

    Attributes:
        item: What the job was given.
        result: What the job returned; None if it failed.
        error: What it raised; None if it succeeded.
        seconds: Wall time.
    """

    item: Item
    result: Result | None
    error: Exception | None
    seconds: float


def run_in_process(job: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Outcome[Item, Result]]:
    """Run a job on each item in order; an item that raises does not stop the others.

    Tracebacks go to the log at debug level. ``KeyboardInterrupt`` and ``SystemExit`` are not caught.
    """
    for item in items:
        start = time.perf_counter()
        result, failure = None, None
        try:
            result = job(item)
        except Exception as error:  # noqa: BLE001 - whatever one study raises must not stop the others
            _log.debug("%s failed", item, exc_info=True)
            failure = error
        yield Outcome(item, result, failure, time.perf_counter() - start)
