"""`rankseg-med status`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from rankseg_med.cli.console import output, say

if TYPE_CHECKING:
    from rankseg_med.runs import FolderStatus


def status_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output folder of predict, decode, pseudo-label or evaluate.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object in place of the table.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until every study is done or Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="With --watch: seconds between two looks.")] = 10.0,
) -> None:
    """Say how far runs are, at any time and from any machine that sees the folder.

    Studies are counted against all that any run or shard over the folder was given. Exit code 0 if every one of them is
    done, else 1.
    """
    from rankseg_med.runs import folder_status

    status = folder_status(folder)
    _print(status, as_json=as_json)
    while watch and not status.is_complete:
        time.sleep(every)
        before, status = status, folder_status(folder)
        if status != before:
            _print(status, as_json=as_json)
    if not status.is_complete:
        raise typer.Exit(1)


def _print(status: FolderStatus, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(_as_json(status), ensure_ascii=False))
        return
    for name, run in status.runs.items():
        when = f"since {run.started}" if run.ended is None else f"{run.started} to {run.ended}"
        say(f"{name}: {run.job} of {len(run.cases)} studies, {run.status}, {when}, on {run.host} {run.device}".rstrip())
    counts = _counts(status)
    table = Table(*counts)
    table.add_row(*map(str, counts.values()))
    output.print(table)
    for sidecar in status.with_status("started"):
        say(f"started: {sidecar.case_id}: {sidecar.time} on {sidecar.host}")
    for sidecar in status.with_status("failed"):
        say(f"failed: {sidecar.case_id}: {sidecar.error}")
    for case_id, reason in status.altered.items():
        say(f"altered: {case_id}: {reason}")
    for reason in status.refused:
        say(f"refused: {reason}")
    for name, reason in status.unreadable.items():
        say(f"unreadable: {name}: {reason}")


def _counts(status: FolderStatus) -> dict[str, int]:
    return {
        "done": len(status.done),
        "started": len(status.with_status("started")),
        "failed": len(status.with_status("failed")),
        "altered": len(status.altered),
        "pending": len(status.pending),
        "planned": len(status.sidecars.keys() | set(status.pending)),
    }


def _as_json(status: FolderStatus) -> dict[str, Any]:
    return {
        "complete": status.is_complete,
        "counts": _counts(status),
        "done": status.done,
        "started": {s.case_id: {"time": s.time, "host": s.host} for s in status.with_status("started")},
        "failed": {s.case_id: s.error for s in status.with_status("failed")},
        "altered": status.altered,
        "pending": status.pending,
        "refused": status.refused,
        "unreadable": status.unreadable,
        "runs": {name: run.model_dump(exclude={"cases"}) for name, run in status.runs.items()},
    }
