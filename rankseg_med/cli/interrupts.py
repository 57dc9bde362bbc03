"""Ctrl-C once finishes what is in hand; twice stops at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

from rankseg_med.cli.console import complain


@contextmanager
def stopped_by_signals(stop: Event) -> Iterator[None]:
    """Set an event at the first Ctrl-C or SIGTERM (what a scheduler sends before it kills); the second one interrupts.

    Args:
        stop: What a run looks at before it starts another case.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        complain("stopping: what is in hand is finished; once more to stop at once")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
