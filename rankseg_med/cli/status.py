"""`rankseg-med status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rankseg_med.cli.console import output, say
from rankseg_med.workflows.status import FolderStatus, folder_status


def status_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of predict, decode or pseudo-label.")],
) -> None:
    """Say how far runs are, at any time and from any machine that sees the folder.

    Exit code 0 if every study of every run is done, else 1.
    """
    status = folder_status(folder)
    for name, run in status.runs.items():
        when = f"since {run.started}" if run.ended is None else f"{run.started} to {run.ended}"
        say(f"{name}: {run.job} of {len(run.cases)} studies, {run.status}, {when}, on {run.host} {run.device}".rstrip())
    _print_counts(status)
    for sidecar in status.with_status("started"):
        say(f"started: {sidecar.case_id}: {sidecar.time} on {sidecar.host}")
    for sidecar in status.with_status("failed"):
        say(f"failed: {sidecar.case_id}: {sidecar.error}")
    for name, reason in status.unreadable.items():
        say(f"unreadable: {name}: {reason}")
    done = len(status.with_status("done"))
    if status.pending or status.unreadable or done < len(status.sidecars):
        raise typer.Exit(1)


def _print_counts(status: FolderStatus) -> None:
    table = Table("done", "started", "failed", "pending")
    counts = [len(status.with_status(name)) for name in ("done", "started", "failed")]
    table.add_row(*map(str, [*counts, len(status.pending)]))
    output.print(table)
