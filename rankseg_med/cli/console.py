"""What every command prints to, and how errors leave the program."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class _Console(Console):
    """One whose reader may leave early, as ``| head`` does: what was done is done, and the exit code says so."""

    shows_progress = False
    """Whether bars and the like are to be shown."""

    def on_broken_pipe(self) -> None:
        """Print nothing more, neither now nor when the interpreter ends; rich would end the program here."""
        self.quiet = True
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


output = _Console()
"""Results: tables and summaries, on standard output."""
messages = _Console(stderr=True)
"""Progress and errors, on standard error, so that results can be piped."""

# A file or a pipe has no width of its own, and rich's default of 80 cuts tables short.
_PIPED_WIDTH = 120
if not output.is_terminal:
    output.width = _PIPED_WIDTH


def say(text: str) -> None:
    """Print a line of results as it is: no colours, no markup, no wrapping."""
    output.print(text, highlight=False, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print a line about what went wrong as it is."""
    messages.print(text, highlight=False, markup=False, soft_wrap=True)


def configure_logging(*, verbose: bool = False, quiet: bool = False) -> None:
    """Coloured log lines on a terminal, plain ones in a log file; with ``quiet`` warnings alone, and no progress."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    messages.shows_progress = messages.is_terminal and not quiet
    handler: logging.Handler
    if messages.is_terminal:
        handler = RichHandler(console=messages, show_path=False)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("rankseg_med")
    package.handlers = [handler]
    package.setLevel(level)
    package.propagate = False


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Progress]:
    """A bar on a terminal; in a log nothing, since each step writes its own line. ``total`` may not be known."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=messages, disable=not messages.shows_progress, transient=True) as bar:
        bar.add_task(description, total=total)
        yield bar


def advance(bar: Progress) -> None:
    """One step further."""
    bar.advance(TaskID(0))


def move_to(bar: Progress, completed: int) -> None:
    """To where so many steps are done."""
    bar.update(TaskID(0), completed=completed)
