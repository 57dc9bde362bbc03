"""The train command: splits, options, errors."""

import csv
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from rankseg_med.studies import ImageEntry, LabelledEntry, Manifest
from rankseg_med.training import LAST, RECORD
from rankseg_med.training.history import HISTORY


@pytest.fixture
def data(tmp_path):
    """Data list of 5 random volumes in 5 folds, a config that trains on them in no time, and 2 further images."""
    rng = np.random.default_rng(0)
    entries = []
    for index in range(7):
        image = nib.Nifti1Image(rng.normal(size=(16, 16, 16)).astype(np.float32), np.eye(4))
        folder = "images" if index < 5 else "further"
        for part in (folder, "labels"):
            (tmp_path / part).mkdir(exist_ok=True)
        nib.save(image, tmp_path / folder / f"case_{index}.nii.gz")
        if index < 5:
            labels = (image.get_fdata() > 1).astype(np.uint8)
            nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "labels" / f"case_{index}.nii.gz")
            paths = {"image": f"images/case_{index}.nii.gz", "label": f"labels/case_{index}.nii.gz"}
            entries.append(LabelledEntry(id=f"case_{index}", fold=index, **paths))
    manifest = tmp_path / "list.json"
    Manifest(name="random", labels={"0": "background", "1": "a", "2": "b"}, training=entries).write(manifest)
    overlay = {
        "extends": "bcp_hippocampus",
        "roi_size": [16, 16, 16],
        "iterations_per_epoch": 2,
        "network_def::channels": [4, 8],
        "network_def::strides": [2],
        "pseudo_labeller::min_confidence": 0.0,
    }
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(overlay))
    return {"config": config, "manifest": manifest, "further": tmp_path / "further", "run": tmp_path / "run"}


@pytest.fixture
def train(rankseg_med, data, caplog):
    def run(*options):
        paths = ("--config", data["config"], "--manifest", data["manifest"], "--output", data["run"])
        with caplog.at_level(logging.INFO, logger="rankseg_med"):
            epochs = () if "--epochs" in options else ("--epochs", 1)
            return rankseg_med("train", *paths, *epochs, "--device", "cpu", *options)

    return run


@pytest.fixture
def pseudo_labels(data):
    """Of the volumes 1 to 4, and of one that is not in the data list."""
    folder, entries = data["manifest"].parent, []
    (folder / "pseudo").mkdir()
    for index in (1, 2, 3, 4, 6):
        name = f"case_{index}.nii.gz"
        shutil.copy(folder / "labels" / "case_0.nii.gz", folder / "pseudo" / name)
        image = f"{'images' if index < 5 else 'further'}/{name}"
        entries.append(LabelledEntry(id=f"case_{index}", image=image, label=f"pseudo/{name}"))
    path = folder / "pseudo.json"
    Manifest(name="pseudo-labels", labels={"0": "background", "1": "a", "2": "b"}, training=entries).write(path)
    return path


def test_pseudo_labels_are_trained_on_beside_labels(train, data, pseudo_labels):
    supervised = yaml.safe_load(data["config"].read_text()) | {"extends": "hippocampus"}
    del supervised["pseudo_labeller::min_confidence"]
    data["config"].write_text(yaml.safe_dump(supervised))
    result = train("--labelled", "case_1", "--fold", 2, "--pseudo-labels", pseudo_labels)
    assert result.code == 0, result.err
    assert "3 studies with pseudo-labels; 2 more are trained on already, validate, or are test images" in result.err
    assert "on 4 labelled and 0 unlabelled studies, validating on 1" in result.err
    record = json.loads((data["run"] / RECORD).read_text())
    labels = {study["case_id"]: Path(study["files"][-1]).parent.name for study in record["training"]}
    assert labels == {"case_1": "labels", **dict.fromkeys(("case_3", "case_4", "case_6"), "pseudo")}
    assert [study["case_id"] for study in record["validation"]] == ["case_2"]


def test_pseudo_labels_of_what_has_labels_add_nothing(train, data):
    result = train("--pseudo-labels", data["manifest"])
    assert result.code == 1
    assert "each of the 5 studies is among the data list's that are trained on" in result.err


def test_a_method_sees_pseudo_labels_as_labels(train, pseudo_labels):
    result = train("--labelled", "case_1", "--fold", 2, "--pseudo-labels", pseudo_labels)
    assert "on 4 labelled and 1 unlabelled studies, validating on 1" in result.err, result.err


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        (("--labelled", 2), "on 2 labelled and 2 unlabelled studies, validating on 1"),
        (("--labelled", "case_1, case_3,case_4", "--fold", 2), "on 3 labelled and 1 unlabelled studies"),
        (("--labelled", 3, "--fold", -1), "on 3 labelled and 2 unlabelled studies, validating on 0"),
    ],
)
def test_labelled_by_number_or_name(train, data, options, counts):
    result = train(*options)
    assert result.code == 0, result.err
    assert counts in result.err
    content = torch.load(data["run"] / LAST, weights_only=True)
    assert {"network", "student"} <= content.keys()


def test_further_images_without_labels(train, data):
    result = train("--unlabelled", data["further"])
    assert result.code == 0, result.err
    assert "on 4 labelled and 2 unlabelled studies, validating on 1" in result.err


def test_further_images_that_have_another_use_are_left_out(train, data):
    """Under whatever id: of the validation study there is a second link."""
    (data["further"] / "case_1.nii.gz").write_bytes(b"is not looked at, since its id has a label")
    (data["further"] / "same.nii.gz").symlink_to(data["manifest"].parent / "images" / "case_0.nii.gz")
    result = train("--unlabelled", data["further"])
    assert result.code == 0, result.err
    assert "2 further studies without labels; 2 more are trained on already, validate, or are test images" in result.err
    assert "on 4 labelled and 2 unlabelled studies, validating on 1" in result.err
    result = train("--unlabelled", data["manifest"])
    assert (result.code, "each of the 5 studies is among the data list's" in result.err) == (1, True)


def test_labels_of_further_images_are_not_looked_at(train, data):
    entries = [
        LabelledEntry(id=f"case_{index}", image=f"further/case_{index}.nii.gz", label=f"gone_{index}.nii.gz")
        for index in (5, 6)
    ]
    further = data["manifest"].with_name("further.json")
    Manifest(name="further", labels={"0": "background", "1": "a", "2": "b"}, training=entries).write(further)
    assert train("--unlabelled", further).code == 0


def test_pseudo_labels_of_test_images_are_left_out(train, data, pseudo_labels):
    manifest = Manifest.read(data["manifest"])
    test = [ImageEntry(id="other", image="further/case_6.nii.gz")]
    manifest.model_copy(update={"test": test}).write(data["manifest"])
    result = train("--labelled", "case_1", "--fold", 2, "--pseudo-labels", pseudo_labels)
    assert "2 studies with pseudo-labels; 3 more are trained on already, validate, or are test images" in result.err


@pytest.mark.slow
def test_a_study_that_cannot_be_read_ends_the_program_in_order(data):
    """While others, which take long to load, wait for their turn."""
    folder = data["manifest"].parent / "images"
    for index in range(2, 5):
        large = nib.Nifti1Image(np.zeros((16, 16, 16), np.float32), np.diag([16.0, 16.0, 16.0, 1.0]))
        nib.save(large, folder / f"case_{index}.nii.gz")
        nib.save(large, folder.parent / "labels" / f"case_{index}.nii.gz")
    (folder / "case_1.nii.gz").write_bytes(b"no image")
    supervised = yaml.safe_load(data["config"].read_text()) | {"extends": "hippocampus"}
    del supervised["pseudo_labeller::min_confidence"]
    data["config"].write_text(yaml.safe_dump(supervised))
    files = ("--config", data["config"], "--manifest", data["manifest"], "--output", data["run"])
    options = map(str, (*files, "--device", "cpu"))
    ended = subprocess.run([sys.executable, "-m", "rankseg_med", "train", *options], capture_output=True, check=False)
    assert (ended.returncode, b"case_1.nii.gz" in ended.stderr) == (1, True), ended.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "learns from unlabelled studies too, but there are none"),
        (("--labelled", 9), "asked for 9 labelled studies, the data list has 4"),
        (("--labelled", "case_0"), "is one held out"),
        (("--labelled", 2, "--resume"), "there is no run to resume"),
    ],
)
def test_what_cannot_be_trained(train, options, message):
    result = train(*options)
    assert result.code == 1
    assert message in result.err


def test_a_longer_run_and_what_it_leaves(train, data):
    assert train("--labelled", 2).code == 0
    assert train("--labelled", 2, "--epochs", 0, "--resume").code == 2
    result = train("--labelled", ",".join(chosen(data)), "--epochs", 3, "--resume")
    assert result.code == 0, result.err
    with (data["run"] / HISTORY).open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.002, 0.002 * (2 / 3) ** 0.9, 0.002 * (1 / 3) ** 0.9])
    record = json.loads((data["run"] / "training.json").read_text())
    assert record["choice"]["fold"] == 0
    assert [session["epochs"] for session in record["sessions"]] == [1, 3]


def chosen(data):
    return [study["case_id"] for study in json.loads((data["run"] / "training.json").read_text())["training"]]


def test_another_training_is_not_resumed(train, data):
    assert train("--labelled", 2).code == 0
    held_out = chosen(data)[0]
    before = {path: path.read_bytes() for path in data["run"].rglob("*") if path.is_file()}
    for options, messages in (
        (("--labelled", 3), ["--labelled: was 2, is now 3", "training studies that are new"]),
        (
            ("--labelled", 2, "--fold", held_out[-1]),
            ["--fold: was 0, is now " + held_out[-1], f"validation studies that were trained on: {held_out}"],
        ),
        (("--labelled", 2, "--seed", 9), ["seed: was 0, is now 9"]),
        (
            ("--labelled", ",".join(chosen(data)), "--unlabelled", data["further"]),
            ["unlabelled studies that are new: case_5, case_6", "--unlabelled: was None, is now "],
        ),
    ):
        result = train(*options, "--epochs", 2, "--resume")
        assert result.code == 1
        for message in ["cannot be resumed", *messages]:
            assert message in result.err
    overlay = yaml.safe_load(data["config"].read_text())
    data["config"].write_text(yaml.safe_dump({**overlay, "learning_rate": 0.5}))
    result = train("--labelled", 2, "--epochs", 2, "--resume")
    assert "- learning_rate: was 0.002, is now 0.5" in result.err
    data["config"].write_text(yaml.safe_dump(overlay))
    # Another data list of the same ids: case_1 stands for what was case_2.
    text = data["manifest"].read_text()
    data["manifest"].write_text(text.replace("images/case_1", "images/_").replace("images/case_2", "images/case_1"))
    (data["manifest"].parent / "images" / "_.nii.gz").symlink_to("case_2.nii.gz")
    result = train("--labelled", 2, "--epochs", 2, "--resume")
    assert result.code == 1
    assert "case_1: has changed, or is another one" in result.err
    assert {path: path.read_bytes() for path in data["run"].rglob("*") if path.is_file()} == before
