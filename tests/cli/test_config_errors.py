"""What every command says of a config or a device that cannot be used."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from rankseg_med.calibration import IsotonicCalibration, save_calibration
from rankseg_med.configuration.devices import available_devices
from rankseg_med.studies import LabelledEntry, Manifest

COMMANDS = ("predict", "pseudo-label", "decode", "train")


@pytest.fixture
def commands(tmp_path):
    """Arguments of each command on a small image of its own, without config and device."""
    image = nib.Nifti1Image(np.zeros((16, 16, 16), np.float32), np.eye(4))
    probabilities = nib.Nifti1Image(np.full((8, 8, 8, 3), 1 / 3, np.float32), np.eye(4))
    nib.save(image, tmp_path / "image.nii.gz")
    nib.save(image, tmp_path / "label.nii.gz")
    nib.save(probabilities, tmp_path / "probabilities.nii.gz")
    names = {"0": "background", "1": "organ", "2": "tumour"}
    case = LabelledEntry(id="image", image="image.nii.gz", label="label.nii.gz", fold=0)
    Manifest(name="one", labels=names, training=[case]).write(tmp_path / "list.json")
    weights = ("--checkpoint", "demo", "--output", tmp_path / "out")
    return {
        "predict": ("predict", tmp_path / "image.nii.gz", *weights),
        "pseudo-label": ("pseudo-label", tmp_path / "image.nii.gz", *weights),
        "decode": ("decode", tmp_path / "probabilities.nii.gz", "--output", tmp_path / "out"),
        "train": ("train", "--manifest", tmp_path / "list.json", "--output", tmp_path / "out"),
    }


@pytest.fixture
def overlay(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(
            f"extends: demo\npseudo_labeller: {{_target_: rankseg_med.semisupervised.PseudoLabeller}}\n{text}\n"
        )
        return path

    return write


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("clenaup: null", "clenaup: no job has such a key, and no entry refers to it; did you mean cleanup?"),
        ("store: dsk", "store: must be memory or disk, got 'dsk'; did you mean disk?"),
        ("cleanup::labels: [5]", "cleanup::labels: there is no label 5; labels are 1 (organ), 2 (tumour)"),
        ("spacing_mm: [0, 1, 1]", "spacing_mm: must be three numbers above 0, in mm, got [0, 1, 1]"),
        ("epochs: 3\nepochs: 4", "cannot be read as a YAML config (epochs stands twice, in line 3 and in line 4)"),
        ("device: cupa", "device must be cpu, cuda or cuda:N, got cupa; there are: cpu"),
    ],
)
def test_one_line_and_exit_code_1(rankseg_med, commands, overlay, tmp_path, command, entry, message):
    path = overlay(entry)
    result = rankseg_med(*commands[command], "--config", path)
    assert (result.code, result.out) == (1, "")
    (line,) = result.err.strip().splitlines()
    assert line.startswith(f"error: {path}: {message}")
    assert not (tmp_path / "out").exists()


CLEANUP = "cleanup: {_target_: Compose, transforms: [{_target_: rankseg_med.transforms.FillLabelHoles, labels: [N]}]}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_later_config_comes_over_the_first(rankseg_med, commands, overlay, tmp_path, command):
    """Such as cleanup-search writes; by itself it would name no classes, so label 5 is a fault of both together."""
    cleaned = tmp_path / "cleaned.yaml"
    cleaned.write_text(CLEANUP.replace("[N]", "[5]"))
    result = rankseg_med(*commands[command], "--config", overlay(""), "--config", cleaned)
    assert (result.code, result.out) == (1, "")
    assert f"mine.yaml, {cleaned}: cleanup::transforms::0::labels: there is no label 5" in result.err


@pytest.mark.parametrize("command", ["predict", "pseudo-label", "decode"])
def test_jobs_take_an_overlay_of_cleanup_alone_beside_another(rankseg_med, commands, overlay, tmp_path, command):
    cleaned = tmp_path / "cleaned.yaml"
    cleaned.write_text(CLEANUP.replace("[N]", "[2]"))
    result = rankseg_med(*commands[command], "--config", overlay(""), "--config", cleaned, "--dry-run")
    assert (result.code, ": 1 to do" in result.out) == (0, True), result.err


@pytest.mark.parametrize("executor", ["in-process", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_network_that_cannot_be_built(rankseg_med, commands, overlay, executor):
    path = overlay("network_def::channels: [8]")
    result = rankseg_med(*commands["predict"], "--config", path, "--device", "cpu", "--executor", executor)
    assert result.code == 1
    (line,) = [line for line in result.err.splitlines() if line.startswith("error")]
    assert line.startswith(
        "error: network_def: UNet cannot be built: the length of `channels` should be no less than 2"
    )


def test_a_calibration_that_pseudo_labels_would_not_have(rankseg_med, commands, overlay):
    path = overlay("calibration: {_target_: rankseg_med.calibration.Temperature, num_classes: 3}")
    result = rankseg_med(*commands["pseudo-label"], "--config", path, "--device", "cpu")
    assert result.code == 1
    assert "calibration: means nothing to pseudo-label" in result.err


@pytest.mark.parametrize("command", ["predict", "pseudo-label", "decode"])
def test_calibration_files(rankseg_med, commands, overlay, tmp_path, command):
    path = overlay("calibration: absent.json")
    arguments = (*commands[command], "--config", path, "--device", "cpu")
    result = rankseg_med(*arguments)
    assert (result.code, result.err.strip()) == (
        1,
        "error: absent.json: no such calibration file; save_calibration writes one",
    )
    save_calibration(IsotonicCalibration(4), tmp_path / "four.json")
    result = rankseg_med(*arguments, "--calibration", tmp_path / "four.json")
    assert result.code == 1
    assert "is of 4 exclusive classes, background included, but there are 3 exclusive classes" in result.err
    assert not (tmp_path / "out").exists()
    save_calibration(IsotonicCalibration(3), tmp_path / "three.json")
    rankseg_med(*arguments, "--calibration", tmp_path / "three.json")
    sidecar = tmp_path / "out" / ("probabilities.json" if command == "decode" else "image.json")
    assert json.loads(sidecar.read_text())["calibration"]["kind"] == "isotonic"


@pytest.mark.parametrize("command", [*COMMANDS, "demo"])
@pytest.mark.parametrize("device", ["cupa", "cuda:99", "cuda:", "gpu"])
def test_devices_that_are_none_are_wrong_usage(rankseg_med, commands, tmp_path, command, device):
    arguments = commands.get(command, ("demo", "--output", tmp_path / "out"))
    config = () if command == "demo" else ("--config", "demo")
    result = rankseg_med(*arguments, *config, "--device", device)
    assert result.code == 2
    said = " ".join(result.err.replace("│", " ").split())
    assert f"there are: {', '.join(available_devices())}" in said
    assert device in result.err
    assert not (tmp_path / "out").exists()


def test_decode_takes_the_configs_device(rankseg_med, commands, overlay, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = overlay("device: cuda")
    result = rankseg_med(*commands["decode"], "--config", path)
    assert (result.code, "PyTorch sees no CUDA device; use --device cpu" in result.err) == (1, True)
    assert rankseg_med(*commands["decode"], "--config", path, "--device", "cpu").code == 0
