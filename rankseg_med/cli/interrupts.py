"""Ctrl-C once finishes what is in hand; twice stops at once. Imports next to nothing, for the program's entry."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


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
        from rankseg_med.cli.console import complain

        complain("stopping: what is in hand is finished; once more to stop at once")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_at_once_by_interrupts() -> Iterator[None]:
    """Leave without a word on Ctrl-C; an exception would be swallowed or printed by whatever is being imported."""
    # Where Ctrl-C is ignored, as in the background of a script, it stays so; threads cannot say what becomes of it.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or current_thread() is not main_thread():
        yield
        return
    signal.signal(signal.SIGINT, leave_interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def leave_interrupted(number: int, frame: FrameType | None) -> None:
    """End the process at once."""
    os._exit(INTERRUPTED)
