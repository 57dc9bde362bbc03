"""Training as a user stops it: with Ctrl-C, once or twice, and as a scheduler does."""

import contextlib
import csv
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch
import yaml

from rankseg_med.studies import LabelledEntry, Manifest
from tests.conftest import REPOSITORY

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
EPOCHS, ITERATIONS = 3, 40
MODULE = (sys.executable, "-m", "rankseg_med")
SIGNALS = [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Arguments that train on four random volumes for seconds; without the output folder."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    entries = []
    for index in range(4):
        labels = rng.integers(0, 3, size=(16, 16, 16), dtype=np.uint8)
        image = (labels + rng.normal(size=labels.shape)).astype(np.float32)
        for part, array in (("image", image), ("label", labels)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{part}_{index}.nii.gz")
        paths = {"image": f"image_{index}.nii.gz", "label": f"label_{index}.nii.gz"}
        entries.append(LabelledEntry(id=f"case_{index}", fold=index % 2, **paths))
    Manifest(name="random", labels={"0": "background", "1": "a", "2": "b"}, training=entries).write(
        folder / "list.json"
    )
    overlay = {
        **{"extends": "hippocampus", "roi_size": [16, 16, 16], "validate_every": 1, "num_workers": 2},
        **{"epochs": EPOCHS, "iterations_per_epoch": ITERATIONS},
        **{"network_def::channels": [8, 16], "network_def::strides": [2]},
    }
    (folder / "tiny config.yaml").write_text(yaml.safe_dump(overlay))
    paths = ("--config", folder / "tiny config.yaml", "--manifest", folder / "list.json")
    return [str(argument) for argument in ("train", *paths, "--device", "cpu")]


def start(*arguments: object) -> subprocess.Popen[str]:
    """In a group of its own, as a terminal starts it."""
    return subprocess.Popen(
        [*map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )


def wait_for(path: Path) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.01)


def history_of(run: Path) -> list[dict[str, str]]:
    """Without the wall time."""
    with (run / "history.csv").open(newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """A training that nobody stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    process = start(*MODULE, *command, "--output", run)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 0, messages
    return run


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_one_signal_saves_the_iteration_and_says_how_to_go_on(command, whole, tmp_path, number):
    run = tmp_path / "a run"
    process = start(*MODULE, *command, "--output", run)
    wait_for(run / "history.csv")
    # A terminal interrupts the whole group, the loaders too.
    os.killpg(process.pid, number)
    printed, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "Traceback" not in messages
    assert messages.count("stopping: what is in hand is finished") == 1
    iteration = torch.load(run / "last.pt", weights_only=True)["trainer"]["iteration"]
    assert ITERATIONS <= iteration < EPOCHS * ITERATIONS
    line = printed.splitlines()[-1]
    assert shlex.split(line) == [*MODULE, *command, "--output", str(run), "--resume"]
    process = start(*shlex.split(line))
    printed, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    assert f"trained into {run}" in printed
    assert history_of(run) == history_of(whole)
    ours, others = (torch.load(folder / "last.pt", weights_only=True)["network"] for folder in (run, whole))
    assert all(torch.equal(ours[name], others[name]) for name in others)


@pytest.mark.slow
def test_a_signal_to_all_processes_does_not_take_the_loaders_away(command, tmp_path):
    """As a scheduler sends it: what trains needs its workers to finish what is in hand."""
    run = tmp_path / "run"
    process = start(*MODULE, *command, "--output", run, "--epochs", 500)
    wait_for(run / "history.csv")
    ended = 0
    while ended < 10:
        for worker in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.terminate()
                ended += 1
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "Traceback" not in messages


@pytest.mark.slow
def test_a_second_signal_stops_at_once_and_leaves_a_run_to_go_on_with(command, tmp_path):
    run = tmp_path / "run"
    process = start(*MODULE, *command, "--epochs", 500, "--output", run)
    wait_for(run / "history.csv")
    for number in (signal.SIGINT, signal.SIGINT):
        os.killpg(process.pid, number)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130, messages
    assert "Traceback" not in messages
    assert not (run / ".claims").exists()
    resumed = start(*MODULE, *command, "--output", run, "--resume")
    _, messages = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, messages


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_the_first_iteration_there_is_nothing_to_save(command, tmp_path, number):
    run = tmp_path / "run"
    process = start(*MODULE, *command, "--output", run)
    wait_for(run / ".claims")
    os.killpg(process.pid, number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in messages
    assert [path.name for path in run.iterdir()] in ([], ["tensorboard"])
    again = start(*MODULE, *command, "--output", run, "--epochs", 1)
    _, messages = again.communicate(timeout=60)
    assert again.returncode == 0, messages


@pytest.mark.slow
def test_a_killed_training_can_be_resumed_at_any_moment(command, whole, tmp_path):
    run = tmp_path / "run"
    process = start(*MODULE, *command, "--output", run)
    wait_for(run / "last.pt")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    process = start(*MODULE, *command, "--output", run, "--resume")
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    assert history_of(run) == history_of(whole)
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_second_training_in_the_folder_is_refused(command, tmp_path):
    run = tmp_path / "run"
    first = start(*MODULE, *command, "--epochs", 500, "--output", run)
    wait_for(run / "last.pt")
    for options, message in (((), "exists already; go on with --resume"), (("--resume",), f"process {first.pid} on ")):
        second = start(*MODULE, *command, "--epochs", 500, "--output", run, *options)
        _, messages = second.communicate(timeout=60)
        assert second.returncode == 1
        assert message in messages
    os.killpg(first.pid, signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode == 130


@pytest.mark.slow
def test_processes_that_train_together_stop_together(command, tmp_path):
    run = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = start(*torchrun, "-m", "rankseg_med", *command, "--output", run)
    wait_for(run / "history.csv")
    process.send_signal(signal.SIGINT)
    printed, messages = process.communicate(timeout=60)
    assert process.returncode != 0
    iteration = torch.load(run / "last.pt", weights_only=True)["trainer"]["iteration"]
    assert ITERATIONS <= iteration < EPOCHS * ITERATIONS
    line = shlex.split(printed.splitlines()[-1])
    assert line[0] == "torchrun"
    assert line[-len(command) - 3 :] == [*command, "--output", str(run), "--resume"]
    resumed = start(*torchrun, *line[line.index("-m") :])
    _, messages = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, messages
    undisturbed = start(*torchrun, "-m", "rankseg_med", *command, "--output", tmp_path / "whole")
    undisturbed.communicate(timeout=120)
    assert history_of(run) == history_of(tmp_path / "whole")
