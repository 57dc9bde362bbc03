"""What becomes of worker processes when the process that started them is killed or interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rankseg_med.executors import run_in_processes
from tests.executors import builds

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import signal, sys
from pathlib import Path
from rankseg_med.executors import run_in_processes, run_on_ray
from tests.executors import builds

stopping = False

def stop(*_):
    global stopping
    stopping = True

def items():
    number = 0
    while not stopping:
        number += 1
        yield "sleep", float(sys.argv[2]) + number * 1e-9

if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop)
    build = builds.Noting(Path(sys.argv[1]), builds.acting_second)
    run = {"ray": run_on_ray, "processes": run_in_processes}[sys.argv[3]]
    outcomes = list(run(build, items(), workers=2))
    sys.exit(any(outcome.error is not None for outcome in outcomes) or len(outcomes) < 3)
"""


@contextmanager
def start(file: Path, sleep_s: float, kind: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(file), str(sleep_s), kind]
    parent = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True)
    try:
        yield parent
    finally:
        parent.kill()
        parent.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows kills otherwise")
@pytest.mark.parametrize(("kind", "seconds"), [("processes", 3), pytest.param("ray", 20, marks=[pytest.mark.slow])])
@pytest.mark.parametrize("sleep_s", [30.0, pytest.param(0.001, marks=pytest.mark.slow)])
def test_workers_end_with_a_parent_that_is_killed(tmp_path, kind, seconds, sleep_s):
    build = builds.Noting(tmp_path / "pids", builds.acting)
    with start(build.file, sleep_s, kind) as parent:
        builds.wait_until(lambda: len(build.pids()) == 2, 40)
        time.sleep(0.1)
        parent.kill()
        builds.wait_until(lambda: not any(map(builds.is_alive, build.pids())), seconds)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups to interrupt")
def test_ctrl_c_is_the_parents_to_decide_about(tmp_path):
    build = builds.Noting(tmp_path / "pids", builds.acting)
    with start(build.file, 0.02, "processes") as parent:
        builds.wait_until(lambda: len(build.pids()) == 2)
        time.sleep(0.3)
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.wait(10) == 0
    assert len(build.pids()) == 2  # none died of it


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked here")
def test_workers_are_born_deaf_to_ctrl_c_and_the_parent_is_not():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    (outcome,) = run_in_processes(builds.blocked_signals, [0])
    assert signal.SIGINT in outcome.result
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
