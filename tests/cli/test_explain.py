"""From images and their classes to a network that was pre-trained and fine-tuned; what is wrong is said before."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.pretraining.blobs import SMALL, write_blobs, write_config


@pytest.fixture
def data(tmp_path):
    masks = write_blobs(tmp_path, 4)
    (tmp_path / "labels").mkdir()
    for case_id, mask in masks.items():
        label_map = nib.Nifti1Image(mask.astype(np.uint8), np.diag([-1, 1, 1, 1]))
        nib.save(label_map, tmp_path / "labels" / f"{case_id}.nii.gz")
    entries = [
        {"id": case_id, "image": f"images/{case_id}.nii.gz", "label": f"labels/{case_id}.nii.gz"} for case_id in masks
    ]
    listed = {"name": "blobs", "labels": {"0": "background", "1": "nodule"}, "training": entries}
    (tmp_path / "list.json").write_text(json.dumps(listed))
    write_config(tmp_path / "classify.yaml", "classify", classifiers=[SMALL], **{"explainer::samples": 2})
    write_config(tmp_path / "pretrain.yaml", "pretrain")
    write_config(tmp_path / "tune.yaml")
    return tmp_path


@pytest.fixture
def explain(rankseg_med, data):
    def run(*options, source="images"):
        paths = ("--config", data / "classify.yaml", "--output", data / "explained")
        return rankseg_med("explain", data / source, *paths, "--device", "cpu", *options)

    return run


def test_from_classes_to_a_fine_tuned_network(rankseg_med, explain, data):
    result = explain("--classes", data / "classes.csv")
    assert result.code == 0, result.err
    listed = data / "explained" / "data_list" / "pseudo_labels.json"
    assert f"4 studies to pre-train on in {listed}" in result.out
    assert "classifier 1: sees the class of " in result.out
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*.pt")}
    again = explain("--classes-by", "largest", source="list.json")
    assert again.code == 0, "the rule comes to the same classes"
    assert "4 of 4 studies done" in again.out
    assert "(4 of them before)" in again.out
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*.pt")} == before

    def train(name, manifest, *options):
        paths = ("--config", data / f"{name}.yaml", "--manifest", manifest, "--output", data / name)
        return rankseg_med("train", *paths, "--fold", -1, "--device", "cpu", *options)

    result = train("pretrain", listed, "--epochs", 1)
    assert result.code == 0, result.err
    result = train("pretrain", listed, "--epochs", 2, "--resume")
    assert result.code == 0, result.err
    with (data / "pretrain" / "history.csv").open(newline="") as file:
        assert all(0 < float(row["loss"]) < 10 for row in csv.DictReader(file))
    weights = ("--weights", data / "pretrain" / "last.pt")
    nothing_learnt = ("--epochs", 1, "--set", "learning_rate=1.0e-12")
    assert train("tune", data / "list.json", *nothing_learnt, "--new-layers").code == 2
    result = train("tune", data / "list.json", *nothing_learnt, *weights)
    assert result.code == 0, result.err
    before, found = (torch.load(data / run / "last.pt", weights_only=True)["network"] for run in ("pretrain", "tune"))
    assert all(torch.allclose(before[name], found[name], atol=1e-6) for name in before)
    assert json.loads((data / "tune" / "training.json").read_text())["weights"]["anew"] == []


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("case_0,nodule\ncase_1,background\ncase_2,nodule\n", "no class is given of case_3"),
        ("case_0,nodule\ncase_1,nodule\ncase_2,nodule\ncase_3,nodule\n", "all of these are of one: nodule"),
        ("case_0,nodule\ncase_1,background\ncase_2,nodule\ncase_3,background\ncase_9,nodule\n", "the images: case_9"),
    ],
)
def test_classes_that_cannot_be_learnt(explain, data, classes, message):
    (data / "classes.csv").write_text(f"case_id,class\n{classes}")
    result = explain("--classes", data / "classes.csv")
    assert result.code == 1
    assert message in result.err
    assert not (data / "explained").exists()


def test_what_is_no_command(explain, data):
    assert explain().code == 2
    assert explain("--classes", data / "classes.csv", "--classes-by", "largest").code == 2
    result = explain("--classes", data / "absent.csv")
    assert (result.code, "no such file" in result.err) == (1, True)


def test_a_fold_and_test_images_are_left_alone(explain, data):
    listed = json.loads((data / "list.json").read_text())
    for number, entry in enumerate(listed["training"]):
        entry["fold"] = number // 3
    listed["test"] = [listed["training"].pop(2)]
    del listed["test"][0]["label"], listed["test"][0]["fold"]
    (data / "list.json").write_text(json.dumps(listed))
    result = explain("--classes", data / "classes.csv", "--fold", 1, source="list.json")
    assert result.code == 0, result.err
    explained = json.loads((data / "explained" / "data_list" / "pseudo_labels.json").read_text())["training"]
    assert [entry["id"] for entry in explained] == ["case_0", "case_1"]


def test_what_is_asked_of_the_explainer_is_checked_before_anything_is_trained(explain, data):
    result = explain("--classes", data / "classes.csv", "--set", "explainer::samples=0")
    assert (result.code, "samples" in result.err) == (1, True)
    assert not (data / "explained").exists()


def test_another_length_of_the_classifiers_and_stale_studies_leave_everything(explain, data):
    assert explain("--classes", data / "classes.csv").code == 0
    before = {path: path.read_bytes() for path in (data / "explained").rglob("*.*") if path.is_file()}
    result = explain("--classes", data / "classes.csv", "--epochs", 9)
    assert result.code == 1
    assert "epochs, and is now to have 9" in result.err
    result = explain("--classes", data / "classes.csv", "--set", "explainer::samples=3")
    assert result.code == 1
    assert "the data list is left as it was: 4 studies are explained with other settings" in result.out
    kept = [path for path in before if path.name != "run.json"]
    assert {path: path.read_bytes() for path in kept} == {path: before[path] for path in kept}
