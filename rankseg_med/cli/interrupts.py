"""Ctrl-C once finishes what is in hand; twice stops at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

from rankseg_med.cli.console import complain


@contextmanager
def stopped_by_signals(stop: Event, in_hand: Event | None = None) -> Iterator[None]:
    """Set an event at the first Ctrl-C or SIGTERM (what a scheduler sends before it kills); the second one interrupts.

    Args:
        stop: What a run looks at before it starts another case.
        in_hand: Is set once there is something to finish; before that, the first one interrupts. None: from now on.
    """
    process = os.getpid()

    def on_signal(number: int, frame: FrameType | None) -> None:
        # Forked processes, such as those that load, inherit this; whoever forked them stops them.
        if os.getpid() != process:
            return
        if stop.is_set() or not (in_hand is None or in_hand.is_set()):
            raise KeyboardInterrupt
        stop.set()
        complain("stopping: what is in hand is finished; once more to stop at once")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
