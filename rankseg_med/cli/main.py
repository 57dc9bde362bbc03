"""The `rankseg-med` program's entry; it imports next to nothing, so that it is in charge before all that takes long."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

from rankseg_med.cli.interrupts import INTERRUPTED, ended_at_once_by_interrupts, leave_interrupted


def main() -> None:
    """Run the program; errors that the user can mend are one line on standard error and exit code 1.

    Any other is the program's own, and shows as one, with its traceback.
    """
    with ended_at_once_by_interrupts():
        import logging

        from rankseg_med.cli.app import app
        from rankseg_med.cli.console import complain
        from rankseg_med.errors import RanksegMedError
    try:
        with _interrupts_that_come_through():
            app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (RanksegMedError, OSError) as error:
        logging.getLogger("rankseg_med").debug("stopped", exc_info=True)
        complain(f"error: {error}")
        sys.exit(1)


def program() -> None:
    """`main` of a process that ends with it: Ctrl-C amid the interpreter's own last steps is no fault to be shown."""
    # Threads are waited for, where Ctrl-C is heeded; what comes then takes a second and changes nothing any more.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        main()
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, leave_interrupted)


@contextmanager
def _interrupts_that_come_through() -> Iterator[None]:
    """Send Ctrl-C again where Python has dropped its exception, since it came amid a destructor or a fork."""
    before = sys.unraisablehook

    def on_dropped(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            # Later, from another thread, when that is over.
            Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            before(dropped)

    sys.unraisablehook = on_dropped
    try:
        yield
    finally:
        sys.unraisablehook = before
