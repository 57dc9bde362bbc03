"""Whole runs on input and in folders that something is wrong with: the right result, or why there is none."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from tests.faults.conftest import CASES, command_on, records


def statuses(output: Path) -> dict[str, str]:
    return {case_id: sidecar["status"] for case_id, sidecar in records(output).items()}


def run_record(output: Path) -> dict:
    return json.loads((output / "run.json").read_bytes())


def test_two_runs_of_different_settings_at_once(commands, study_folder, tmp_path):
    """One is refused; what the folder holds in the end is of one decoder, map by map."""
    output = tmp_path / "out"
    # Eight times the network, so that the first is still at work when the second asks for the folder.
    dice = commands("predict").start(output, "--decoder", "dice", "--tta")
    while not list(output.glob(".claims/*.run")):
        time.sleep(0.01)
    argmax = commands("predict").start(output, "--decoder", "argmax", "--tta")
    for process in (dice, argmax):
        process.join()
    assert (dice.exitcode, argmax.exitcode) == (0, 1), commands("predict").log.read_text()
    assert "works in this folder" in commands("predict").log.read_text()
    assert len({sidecar["decoder"] for sidecar in records(output).values()}) == 1
    alone = tmp_path / "alone"
    commands("predict").run(alone, "--decoder", "dice", "--tta")
    for number in range(CASES):
        name = f"case_{number}.nii.gz"
        assert (output / name).read_bytes() == (alone / name).read_bytes()


def test_three_runs_of_the_same_settings_at_once(commands, tmp_path):
    output = tmp_path / "out"
    processes = [commands("predict").start(output) for _ in range(3)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0], commands("predict").log.read_text()
    assert statuses(output) == {f"case_{number}": "done" for number in range(CASES)}
    assert not (output / ".claims").exists()


def detached(folder: Path, source: Path, kind: str) -> tuple[Path, Path]:
    """An image whose voxels lie in another file; both files."""
    folder.mkdir()
    if kind == "mhd":
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(source)), str(folder / "case.mhd"))
        return folder / "case.mhd", folder / "case.raw"
    image = nib.load(source)
    nib.save(nib.Nifti1Pair(np.asarray(image.dataobj), image.affine), folder / "case.hdr")
    return folder / "case.hdr", folder / "case.img"


@pytest.mark.parametrize("kind", ["mhd", "hdr"])
def test_a_replaced_companion_file_is_another_input(study_folder, tmp_path, kind):
    _, voxels = detached(tmp_path / "in", study_folder / "images" / "case_0.nii.gz", kind)
    command = command_on("predict", tmp_path / "in", tmp_path / "log.txt")
    assert command.run(tmp_path / "out") == 0, command.log.read_text()
    content = bytearray(voxels.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    voxels.write_bytes(bytes(content))
    assert command.run(tmp_path / "out") == 1
    assert "of another input" in command.log.read_text()
    assert command.run(tmp_path / "out", "--overwrite") == 0


@pytest.mark.real_data
def test_half_of_a_series_is_another_input(shared_data, tmp_path):
    series = tmp_path / "in" / "patient"
    shutil.copytree(shared_data / "ct" / "dicom_series", series)
    (series / "thumbnails").mkdir()
    command = command_on("predict", tmp_path / "in", tmp_path / "log.txt")
    assert command.run(tmp_path / "out") == 0, command.log.read_text()
    slices = sorted(path for path in series.iterdir() if path.is_file())
    for path in slices[len(slices) // 2 :]:
        path.unlink()
    assert command.run(tmp_path / "out") == 1
    assert "of another input" in command.log.read_text()


def test_outputs_that_were_damaged_are_not_taken_for_done(commands, tmp_path):
    command, output = commands("predict"), tmp_path / "out"
    assert command.run(output) == 0
    whole = {name: (output / name).read_bytes() for name in (f"case_{number}.nii.gz" for number in range(CASES))}
    first, second, third, fourth, *_ = whole
    (output / first).write_bytes(whole[first][:100])
    (output / second).write_bytes(b"")
    (output / third).write_bytes(whole[first])
    (output / fourth).unlink()
    assert command.run(output) == 1
    assert set(run_record(output)["stale"]) == {"case_0", "case_1", "case_2"}
    assert run_record(output)["totals"] == {"stale": 3, "done": 1, "skipped": CASES - 4}
    assert command.run(output, "--overwrite") == 0
    assert {name: (output / name).read_bytes() for name in whole} == whole


def test_sidecars_that_were_damaged_are_named(commands, tmp_path):
    command, output = commands("decode"), tmp_path / "out"
    assert command.run(output) == 0
    kinds = [b"", b"{", b"[]", bytes(range(256)), b"[" * 200_000]
    for number, content in enumerate(kinds):
        (output / f"case_{number}.json").write_bytes(content)
    last = output / "case_5.json"
    last.unlink()
    os.mkfifo(last)
    assert command.run(output) == 1
    assert set(run_record(output)["stale"]) == {f"case_{number}" for number in range(CASES)}
    assert command.run(output, "--overwrite") == 0, command.log.read_text()
    assert set(statuses(output).values()) == {"done"}


def strange_files(folder: Path, good: Path) -> None:
    """A good study among files that hang, loop, or are none."""
    folder.mkdir()
    shutil.copy(good, folder / "good.nii.gz")
    os.mkfifo(folder / "pipe.nii.gz")
    (folder / "loop.nii.gz").symlink_to(folder / "loop.nii.gz")
    (folder / "dangling.nii.gz").symlink_to(folder / "absent.nii.gz")
    (folder / "device.nii").symlink_to("/dev/zero")
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "noise.nii.gz").write_bytes(os.urandom(5000))


STRANGE = {"pipe", "loop", "dangling", "device", "empty", "noise"}


@pytest.mark.parametrize("options", [(), ("--study-timeout", 60)])
def test_pipes_loops_and_devices_among_the_studies(study_folder, tmp_path, options):
    strange_files(tmp_path / "in", study_folder / "images" / "case_0.nii.gz")
    command = command_on("predict", tmp_path / "in", tmp_path / "log.txt", *options)
    start = time.monotonic()
    assert command.run(tmp_path / "out") == 1
    assert time.monotonic() - start < 60
    record = run_record(tmp_path / "out")
    assert (record["status"], record["totals"]["done"]) == ("finished", 1)
    assert set(record["failed"]) == STRANGE
    for case_id, reason in record["failed"].items():
        assert f"{case_id}.nii" in reason


def test_strange_files_in_a_data_list_and_a_series(study_folder, tmp_path):
    folder = tmp_path / "in"
    strange_files(folder, study_folder / "images" / "case_0.nii.gz")
    (folder / "series").mkdir()
    os.mkfifo(folder / "series" / "0.dcm")
    names = [path.name for path in sorted(folder.iterdir())]
    rows = [f"{name.split('.')[0]},{name}" for name in names]
    (folder / "list.csv").write_text("\n".join(["case_id,image", *rows]) + "\n")
    command = command_on("predict", folder / "list.csv", tmp_path / "log.txt")
    assert command.run(tmp_path / "out") == 1
    assert set(run_record(tmp_path / "out")["failed"]) == {*STRANGE, "series"}


def test_files_that_may_not_be_read(study_folder, tmp_path):
    """Also where the test runs as root, who may read everything."""
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(3):
        shutil.copy(study_folder / "images" / f"case_{number}.nii.gz", folder)
    (folder / "case_1.nii.gz").chmod(0)
    command = command_on("predict", folder, tmp_path / "log.txt")
    assert command.run(output, unprivileged=True) == 1
    assert run_record(output)["totals"] == {"done": 2, "failed": 1}, command.log.read_text()
    assert "case_1.nii.gz" in run_record(output)["failed"]["case_1"]
    (folder / "case_1.nii.gz").chmod(0o644)
    (output / "case_0.json").chmod(0)
    assert command.run(output, unprivileged=True) == 1
    assert run_record(output)["totals"] == {"done": 1, "skipped": 1, "stale": 1}
    assert "case_0.json" in run_record(output)["stale"]["case_0"]
    assert command.run(output, "--overwrite", unprivileged=True) == 0, command.log.read_text()


def test_a_full_disk(commands, tmp_path):
    """Label maps that find no room are failures that name file and cause; the rest is done once there is room."""
    output = tmp_path / "small"
    output.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", output], check=False).returncode:
        pytest.skip("mounting is not allowed here; tests/runs/test_run_record.py simulates it")
    command = commands("predict")
    try:
        filler = output / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(output).free - 48 * 1024))
        assert command.run(output) == 1
        log = command.log.read_text()
        assert f"studies done in {output}" in log
        failed = [line for line in log.splitlines() if line.startswith("failed: ")]
        assert failed
        assert all("No space left on device" in line and str(output) in line for line in failed)
        assert not (output / "run.json").exists() or run_record(output)["status"] != "running"
        filler.unlink()
        assert command.run(output) == 0, command.log.read_text()
        assert set(statuses(output).values()) == {"done"}
    finally:
        subprocess.run(["umount", output], check=True)


def test_images_and_labels_in_the_output_folder_survive(commands, study_folder, tmp_path):
    """By whatever path the folder is reached."""
    link = tmp_path / "link"
    link.symlink_to(study_folder / "labels")
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in study_folder.rglob("*.nii.gz")}
    for output in (study_folder / "labels", link, study_folder / "images" / ".." / "labels"):
        for options in ((), ("--overwrite",)):
            assert commands("pseudo-label").run(output, *options) == 1
    assert commands("predict").run(study_folder / "images", "--overwrite") == 1
    assert commands("decode").run(study_folder / "labels", "--images", study_folder / "list.json", "--overwrite") == 1
    assert "would replace" in commands("predict").log.read_text()
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in before} == before
