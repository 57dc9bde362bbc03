"""A run as a user stops it: with Ctrl-C, once or twice, and as a scheduler does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.studies import Sidecar

STUDIES = 15


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_phantom(make_phantom(5, shape=(64, 64, 48)), folder / "0.nii.gz", folder / "labels" / "0.nii.gz")
    for number in range(1, STUDIES):
        (folder / f"{number}.nii.gz").symlink_to(folder / "0.nii.gz")
    return folder


def start(images: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rankseg_med", "predict", images, "--output", output, *options]
    return subprocess.Popen(
        [*map(str, command), "--config", "demo", "--checkpoint", "demo", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_a_label_map(output: Path) -> None:
    end = time.monotonic() + 120
    while not list(output.glob("*.nii.gz")):
        assert time.monotonic() < end, "nothing was predicted"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_finishes_what_is_in_hand(images, tmp_path, number):
    process = start(images, tmp_path / "out")
    wait_for_a_label_map(tmp_path / "out")
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert "stopping: what is in hand is finished" in printed
    assert "not started; run the same command again to go on" in printed
    sidecars = [Sidecar.read(path) for path in (tmp_path / "out").glob("[0-9]*.json")]
    assert {sidecar.status for sidecar in sidecars} == {"done"}
    assert 0 < len(sidecars) < STUDIES
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == len(sidecars)
    again = start(images, tmp_path / "out")
    printed, _ = again.communicate(timeout=120)
    assert again.returncode == 0
    assert f"{STUDIES} of {STUDIES} studies done" in printed
    assert f"({len(sidecars)} of them before)" in printed


@pytest.mark.slow
def test_a_second_signal_stops_at_once_and_leaves_a_resumable_run(images, tmp_path):
    process = start(images, tmp_path / "out")
    wait_for_a_label_map(tmp_path / "out")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode != 0
    again = start(images, tmp_path / "out")
    again.communicate(timeout=120)
    assert again.returncode == 0
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == STUDIES
