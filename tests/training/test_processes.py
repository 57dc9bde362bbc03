"""Two processes that train one network, started as users do."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rankseg_med.configuration.config import load_config
from rankseg_med.networks import load_weights
from rankseg_med.studies import Manifest
from rankseg_med.training.processes import (
    across_processes,
    is_first_process,
    joined_processes,
    share_of,
)
from tests.conftest import REPOSITORY


def test_a_process_by_itself(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with joined_processes(torch.device("cpu")) as device:
        network = torch.nn.Linear(2, 2)
        assert device == torch.device("cpu")
        assert not torch.distributed.is_initialized()
        assert across_processes(network) is network
        assert is_first_process()
        assert share_of([1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize(("processes", "shares"), [(2, ["ace", "bd"]), (5, list("abcde")), (6, ["abcde"] * 6)])
def test_everyone_gets_something(monkeypatch, processes, shares):
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: processes)
    for rank, expected in enumerate(shares):
        monkeypatch.setattr("ignite.distributed.get_rank", lambda rank=rank: rank)
        assert "".join(share_of("abcde")) == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine balls in noise."""
    folder = tmp_path_factory.mktemp("balls")
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for index in range(9):
        distance = np.linalg.norm(np.indices((16, 16, 16)).T - rng.uniform(6, 10, 3), axis=-1).T
        labels = (distance < 4).astype(np.uint8) + (distance < 2)
        image = (labels + rng.normal(scale=0.3, size=labels.shape)).astype(np.float32)
        for part, array in (("images", image), ("labels", labels.astype(np.uint8))):
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / part / f"ball_{index}.nii.gz")
    return folder


def torchrun(*arguments):
    """Two processes on this machine."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *arguments]
    ended = subprocess.run(
        list(map(str, command)), env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    return ended


def losses_in(run):
    events = EventAccumulator(str(run / "tensorboard")).Reload().Scalars("train_loss")
    return {event.step: event.value for event in events}


@pytest.mark.slow
def test_the_command_in_two_processes(folder, tmp_path):
    entries = [
        {"id": f"ball_{i}", "image": f"images/ball_{i}.nii.gz", "label": f"labels/ball_{i}.nii.gz", "fold": i % 3}
        for i in range(9)
    ]
    manifest = Manifest(name="balls", labels={"0": "background", "1": "a", "2": "b"}, training=entries)
    manifest.write(tmp_path / "balls.json")
    overlay = {
        "extends": "mean_teacher_hippocampus",
        **{"roi_size": [16, 16, 16], "iterations_per_epoch": 2, "validate_every": 1, "epochs": 2},
        **{"network_def::channels": [4, 8], "network_def::strides": [2]},
    }
    config, run = tmp_path / "tiny.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(overlay))
    paths = ["--config", config, "--manifest", tmp_path / "balls.json", "--data-root", folder, "--output", run]
    ended = torchrun("-m", "rankseg_med", "train", *paths, "--labelled", 2, "--device", "cpu")
    assert torch.load(run / "last.pt", weights_only=True)["trainer"]["iteration"] == 4
    assert ended.stderr.count("epoch 2 of 2: loss") == 1


@pytest.mark.slow
def test_two_processes_train_one_network(folder):
    torchrun(Path(__file__).with_name("training_process.py"), folder)
    first, second = (torch.load(folder / f"process_{rank}.pt", weights_only=True) for rank in range(2))
    # In step, batch-norm statistics of the teacher included, though each saw other images.
    assert len(first["seen"]) == len(second["seen"]) == 9
    assert all(one != other for one, other in zip(first["seen"], second["seen"], strict=True))
    for name, tensor in first["teacher"].items():
        assert torch.equal(tensor, second["teacher"][name]), name
    assert any("running_var" in name for name in first["teacher"])
    # Of all three validation volumes, which they shared out.
    assert first["calibration"]["inverse_temperature"] != 1
    assert all(torch.equal(tensor, second["calibration"][name]) for name, tensor in first["calibration"].items())
    for name, tensor in first["student"].items():
        # DistributedDataParallel brings the student's own statistics in step when it is next used.
        assert torch.equal(tensor, second["student"][name]) or "running" in name, name
    assert not any(
        torch.equal(first["teacher"][name], first["student"][name])
        for name in first["teacher"]
        if name.endswith("conv.weight")
    )
    # Only the first wrote and reported; its files are like those of a process by itself.
    assert (first["reports"], second["reports"]) == ([1, 2, 3], [])
    files = ["best.pt", "history.csv", "last.pt", "tensorboard", "training.json"]
    assert sorted(path.name for path in (folder / "whole").iterdir()) == files
    losses = losses_in(folder / "whole")
    assert sorted(losses) == list(range(1, 10))
    network = load_config("train", "bcp_hippocampus", device="cpu")
    network.update({"network_def::channels": [4, 8], "network_def::strides": [2], "network_def::norm": "BATCH"})
    network = network.get_parsed_content("network_def")
    load_weights(network, folder / "whole" / "last.pt")
    assert all(torch.equal(tensor, first["teacher"][name]) for name, tensor in network.state_dict().items())
    # Stopped and resumed, the same.
    assert losses_in(folder / "parts") == losses
    parts = torch.load(folder / "parts" / "last.pt", weights_only=True)["network"]
    assert all(torch.equal(parts[name], tensor) for name, tensor in first["teacher"].items())
