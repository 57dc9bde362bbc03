"""Every job is killed 25 times at random moments; whatever is there is whole, and resuming gives what it would have."""

import hashlib
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.faults.conftest import CASES, records

KILLS = 25
_OF_A_RUN = ("time", "host", "seconds", "stage_seconds", "inputs")


def kill(process, after_s: float) -> bool:
    """Whether the process, with all that it started, was still there to be killed."""
    process.join(after_s)
    if process.exitcode is not None:
        return False
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # not yet in a group of its own
        process.kill()
    process.join()
    return True


def folder_of_sidecars(output: Path, job: str) -> Path:
    return output / "cases" if job == "evaluate" else output


def results(output: Path, job: str) -> dict[str, object]:
    """All that a run's input and settings decide."""
    found: dict[str, object] = {}
    for path in sorted(output.rglob("*")):
        if path.name.endswith((".nii.gz", ".csv")) or ("data_list" in path.parts and path.is_file()):
            found[str(path.relative_to(output))] = path.read_bytes()
    for case_id, sidecar in records(folder_of_sidecars(output, job)).items():
        found[case_id] = {name: value for name, value in sidecar.items() if name not in _OF_A_RUN}
    return found


def check_what_is_there(output: Path, job: str) -> None:
    """What a sidecar says was done is there, as it says."""
    folder = folder_of_sidecars(output, job)
    for sidecar in records(folder).values():
        if sidecar["status"] == "done":
            for name, written in sidecar["outputs"].items():
                assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == written["sha256"]
    for path in output.rglob("run*.json"):
        json.loads(path.read_bytes())


@pytest.mark.parametrize("job", ["predict", "decode", "evaluate", "pseudo-label"])
def test_a_job_that_is_killed_again_and_again(commands, job, tmp_path):
    command, numbers = commands(job), random.Random(0)
    start = time.monotonic()
    assert command.run(tmp_path / "whole") == 0, command.log.read_text()
    duration_s = time.monotonic() - start
    output, kills = tmp_path / "out", 0
    while kills < KILLS:
        # Short enough for several kills on the way through the cases.
        process = command.start(output)
        if kill(process, numbers.uniform(0, duration_s / 2)):
            kills += 1
            check_what_is_there(output, job)
        else:
            assert process.exitcode == 0, command.log.read_text()
            assert results(output, job) == results(tmp_path / "whole", job)
            shutil.rmtree(output)
    assert command.run(output) == 0, command.log.read_text()
    assert results(output, job) == results(tmp_path / "whole", job)
    assert len(records(folder_of_sidecars(output, job))) == CASES
    assert not [path.name for path in output.rglob(".*")]


def test_training_that_is_killed_again_and_again(commands, tmp_path):
    command, numbers = commands("train"), random.Random(0)
    assert command.run(tmp_path / "whole") == 0, command.log.read_text()
    output, kills = tmp_path / "out", 0
    while kills < KILLS:
        options = ["--resume"] if (output / "last.pt").exists() else []
        if not options:
            shutil.rmtree(output, ignore_errors=True)
        process = command.start(output, *options)
        if kill(process, numbers.uniform(0, 4)):
            kills += 1
            if (output / "last.pt").exists():
                torch.load(output / "last.pt", weights_only=True)
        else:
            assert process.exitcode == 0, command.log.read_text()
            shutil.rmtree(output)
    if not (output / "last.pt").exists():
        shutil.rmtree(output, ignore_errors=True)
    assert command.run(output, *(["--resume"] if output.exists() else [])) == 0, command.log.read_text()
    resumed, whole = (torch.load(folder / "last.pt", weights_only=True) for folder in (output, tmp_path / "whole"))
    for name, values in whole["network"].items():
        torch.testing.assert_close(resumed["network"][name], values, rtol=0, atol=0)
