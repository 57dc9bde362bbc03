"""What is shown of a run while it runs."""

import io
import logging
from types import SimpleNamespace

import pytest

from rankseg_med.cli import live as module
from rankseg_med.cli.console import _Console
from rankseg_med.cli.live import LiveRun
from rankseg_med.runs.run import CaseOutcome

CASES = [SimpleNamespace(case_id=f"liver_{number}") for number in range(4)]


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    screen = io.StringIO()
    console = _Console(file=screen, force_terminal=True, width=100, color_system=None)
    console.shows_progress = True
    monkeypatch.setattr(module, "messages", console)
    return screen


def test_a_terminal_shows_counts_and_what_every_worker_does(terminal):
    with LiveRun("predict 1/2", 4, ("load", "predict", "write")) as live:
        live.on_stage(CASES[0], 0, "process 1")
        live.on_outcome(CaseOutcome(CASES[0], "done", seconds=1.0))
        live.on_outcome(CaseOutcome(CASES[3], "skipped"))
        live.on_stage(CASES[1], 0, "process 1")
        live.on_stage(CASES[1], 1, "process 1")
        live.on_stage(CASES[2], 0, "process 2")
        live._live.refresh()
        shown = terminal.getvalue()
    assert "predict 1/2: 2 of 4" in shown
    assert "1 done, 1 skipped" in shown
    assert "an hour" not in shown
    last = shown[shown.rindex("worker") :]
    assert [line.split()[:4] for line in last.splitlines()[1:3]] == [
        ["process", "1", "predict", "liver_1"],
        ["process", "2", "load", "liver_2"],
    ]


def test_rates_are_of_what_was_worked_on_and_come_after_a_minute(terminal, monkeypatch):
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    live = LiveRun("predict", 4, ("load",))
    live._counts.update({"skipped": 2, "done": 1})
    now = 59.0
    assert live._summary() == "3 of 4"
    now = 90.0
    assert live._summary() == "3 of 4, 40 an hour, 0:01:30 left"


def test_elsewhere_there_is_a_line_for_every_case(caplog, monkeypatch):
    # The command line, once tested in the same process, keeps the package's log to itself.
    monkeypatch.setattr(logging.getLogger("rankseg_med"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("rankseg_med"), "handlers", [])
    with caplog.at_level(logging.INFO, "rankseg_med"), LiveRun("predict", 3, ("load",)) as live:
        live.on_outcome(CaseOutcome(CASES[0], "done", seconds=1.25))
        live.on_outcome(CaseOutcome(CASES[1], "failed", reason="no header"))
        live.on_outcome(CaseOutcome(CASES[2], "stale", reason="other weights"))
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("liver_0: done in 1.2 s (1 of 3")
    assert messages[1].startswith("liver_1: failed (2 of 3")
    assert messages[2] == "liver_2: stale: other weights"
