"""What every benchmark here measures and prints alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table


def start_peak() -> int:
    """Let the peak of this process's resident memory start anew; the resident bytes now. Linux only."""
    before = _resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    return before


def peak_bytes() -> int:
    """Most resident bytes since `start_peak`."""
    return _resident_bytes("VmHWM")


def print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool
) -> None:
    """Print a table for a terminal, or in Markdown with numbers to the right."""
    if not markdown:
        table = Table(*columns, title=title or None)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    head = [f"### {title}", ""] if title else []
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    text = "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines), ""])
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _resident_bytes(which: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024
