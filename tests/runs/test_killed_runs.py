"""Runs are killed at random moments, again and again; resuming loses nothing and does nothing twice."""

import os
import random
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from rankseg_med.executors import Executor, InProcess, InProcesses, OnRay
from rankseg_med.runs.run import RunOptions, run_job
from rankseg_med.runs.run_record import RunRecord
from rankseg_med.studies import Sidecar
from tests.runs.conftest import Doubling, File

_CASES = 400
_KILLS = 24
_PATIENCE_S = 120
_context = get_context("forkserver")
_context.set_forkserver_preload(["rankseg_med.runs.run_record", "tests.runs.conftest"])


def _run(job: Doubling, cases: list[File], executor: Executor) -> None:
    os.setpgid(0, 0)
    for _ in run_job(job, cases, RunOptions(executor=executor)):
        pass


def _done(job: Doubling, cases: list[File]) -> dict[str, int]:
    """Case id to the time at which its output was written, of all whose sidecar says done."""
    done = {}
    for case in cases:
        sidecar = Sidecar.path_in(job.output, case.case_id)
        if sidecar.exists() and Sidecar.read(sidecar).status == "done":
            done[case.case_id] = job.outputs_of(case)[0].stat().st_mtime_ns
    return done


def _let_work(process: BaseProcess, job: Doubling, further: int, seconds: float) -> None:
    """Until so many further cases are done and so many seconds are over.

    By what is done and not by the clock: on a fast machine all would be done, and nothing be left to interrupt.
    """
    goal = len(list(job.output.glob("case_*.txt"))) + further
    deadline = time.monotonic() + _PATIENCE_S
    while process.is_alive() and len(list(job.output.glob("case_*.txt"))) < goal:
        assert time.monotonic() < deadline, "a run has to get on with its cases"
        time.sleep(0.002)
    time.sleep(seconds)


def _leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.fixture(params=["in process", *(pytest.param(name, marks=pytest.mark.slow) for name in ("processes", "ray"))])
def executor(request) -> Iterator[Executor]:
    """How cases are spread."""
    if request.param == "in process":
        yield InProcess()
    elif request.param == "processes":
        yield InProcesses(workers=2)
    else:
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        yield OnRay(address=cluster.address, workers=2)
        cluster.shutdown()


@pytest.mark.slow
def test_killed_and_resumed(doubling, files, executor):
    numbers = random.Random(0)
    cases = files(*map(str, range(_CASES)))
    job = Doubling(doubling.output, seconds=0.01)
    done: dict[str, int] = {}
    for _ in range(_KILLS):
        process = _context.Process(target=_run, args=(job, cases, executor))
        process.start()
        # No further case: while it starts, reads what is done, and does its first cases.
        further = numbers.choice([0, 0, 1, 2, 5, 10, 20])
        _let_work(process, job, further, seconds=numbers.uniform(0, 0.02 if further else 0.1))
        assert process.is_alive(), "there must be something left to interrupt"
        process.kill()
        process.join()
        now = _done(job, cases)
        assert done.items() <= now.items(), "what was done must stay as it was"
        done = now
    assert done, "kills must come late enough for something to be done"
    last = _context.Process(target=_run, args=(job, cases, executor))
    last.start()
    last.join()
    assert last.exitcode == 0
    assert done.items() <= _done(job, cases).items()
    outputs = {path.name: path.read_text() for path in job.output.glob("*.txt")}
    assert outputs == {f"case_{number}.txt": str(2 * number) for number in range(_CASES)}
    assert len(_done(job, cases)) == _CASES
    assert not _leftovers(job.output)
    assert RunRecord.read(job.output / "run.json").totals.keys() <= {"done", "skipped"}
