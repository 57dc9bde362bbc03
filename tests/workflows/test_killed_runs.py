"""Runs are killed at random moments, again and again; resuming loses nothing and does nothing twice."""

import os
import random
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from rankseg_med.studies import Sidecar
from rankseg_med.workflows.run import RunOptions, run_job
from rankseg_med.workflows.run_record import RunRecord, recorded
from rankseg_med.workflows.spread import IN_PROCESS, InProcesses, OnRay, Spread
from tests.workflows.conftest import Doubling, File

_CASES = 400
_context = get_context("forkserver")
_context.set_forkserver_preload(["rankseg_med.workflows.run_record", "tests.workflows.conftest"])


def _run(job: Doubling, cases: list[File], spread: Spread) -> None:
    os.setpgid(0, 0)
    for _ in recorded(job, cases, run_job(job, cases, RunOptions(spread=spread))):
        pass


def _done(job: Doubling, cases: list[File]) -> dict[str, int]:
    """Case id to the time at which its output was written, of all whose sidecar says done."""
    done = {}
    for case in cases:
        sidecar = Sidecar.path_in(job.output, case.case_id)
        if sidecar.exists() and Sidecar.read(sidecar).status == "done":
            done[case.case_id] = job.outputs_of(case)[0].stat().st_mtime_ns
    return done


def _leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("spread", "kills", "longest_s"),
    [
        pytest.param(IN_PROCESS, 24, 0.25, id="in process"),
        pytest.param(InProcesses(workers=2), 12, 12, id="processes", marks=pytest.mark.slow),
        pytest.param(OnRay(workers=2), 24, 20, id="ray", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed(doubling, files, spread, kills, longest_s):
    numbers = random.Random(0)
    cases = files(*map(str, range(_CASES)))
    job = Doubling(doubling.output, seconds=0.01)
    done: dict[str, int] = {}
    killed = 0
    while killed < kills:
        process = _context.Process(target=_run, args=(job, cases, spread))
        process.start()
        time.sleep(numbers.uniform(0, longest_s))
        killed += process.is_alive()
        process.kill()
        process.join()
        now = _done(job, cases)
        assert done.items() <= now.items(), "what was done must stay as it was"
        done = now
    assert done, "kills must come late enough for something to be done"
    last = _context.Process(target=_run, args=(job, cases, spread))
    last.start()
    last.join()
    assert last.exitcode == 0
    assert done.items() <= _done(job, cases).items()
    outputs = {path.name: path.read_text() for path in job.output.glob("*.txt")}
    assert outputs == {f"case_{number}.txt": str(2 * number) for number in range(_CASES)}
    assert len(_done(job, cases)) == _CASES
    assert not _leftovers(job.output)
    assert RunRecord.read(job.output / "run.json").totals.keys() <= {"done", "skipped"}
