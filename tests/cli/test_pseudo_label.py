"""`rankseg-med pseudo-label` with the shipped network, and training on what it wrote."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.training.training import LAST
from rankseg_med.workflows import pseudo_label as module
from rankseg_med.workflows.pseudo_label import quality
from tests.voxels import voxels_of


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    for index in range(2):
        phantom = make_phantom(80 + index, shape=(64, 64, 40), spacing_mm=(4.5, 4.5, 5.0))
        write_phantom(phantom, folder / "images" / f"case_{index}.nii.gz", folder / "labels" / f"case_{index}.nii.gz")
    return folder


@pytest.fixture
def pseudo_label(rankseg_med, phantoms, tmp_path):
    config = tmp_path / "config.yaml"
    labeller = {"_target_": "rankseg_med.semisupervised.PseudoLabeller", "largest_component": [[1, 2]]}
    config.write_text(yaml.safe_dump({"extends": "demo", "pseudo_labeller": labeller}))

    def run(*options, source=phantoms / "images"):
        paths = ("--config", config, "--checkpoint", "demo", "--output", tmp_path / "out")
        return rankseg_med("pseudo-label", source, *paths, "--device", "cpu", *options)

    return run


def test_from_images_to_training(pseudo_label, rankseg_med, phantoms, tmp_path):
    result = pseudo_label("--confidence", "--min-confidence", 0.6)
    assert (result.code, "2 pseudo-labels in" in result.out) == (0, True), result.err
    for name in ("case_0", "case_1"):
        labels = voxels_of(tmp_path / "out" / f"{name}.nii.gz")
        truth = voxels_of(phantoms / "labels" / f"{name}.nii.gz") > 0
        organ = np.isin(labels, (1, 2))
        assert 2 * (organ & truth).sum() / (organ.sum() + truth.sum()) > 0.8
        confidence = nib.load(tmp_path / "out" / f"{name}_confidence.nii.gz").get_fdata()
        assert (confidence[labels == 255] == 0).all()
        assert confidence[labels != 255].min() + 1e-4 >= 0.6
        assert set(json.loads((tmp_path / "out" / f"{name}.json").read_text())["expected_dice"]) == {"1", "2"}

    again = pseudo_label("--confidence", "--min-confidence", 0.6)
    assert "2 of 2 studies done" in again.out
    assert "(2 of them before)" in again.out

    overlay = {
        "extends": "demo",
        **{"roi_size": [16, 16, 16], "epochs": 1, "iterations_per_epoch": 2},
        "network_def::channels": [4, 8],
        "network_def::strides": [2],
        "loss": {"_target_": "rankseg_med.semisupervised.IgnoringDiceCELoss", "ignore_index": 255},
    }
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(overlay))
    data_list = tmp_path / "out" / "data_list" / "pseudo_labels.json"
    options = ("--config", config, "--manifest", data_list, "--output", tmp_path / "run", "--fold", -1)
    trained = rankseg_med("train", *options, "--device", "cpu")
    assert trained.code == 0, trained.err
    assert all(
        torch.isfinite(w).all() for w in torch.load(tmp_path / "run" / LAST, weights_only=True)["network"].values()
    )


def test_shards_share_one_list_and_poor_ones_are_named(pseudo_label, tmp_path):
    data_list = tmp_path / "out" / "data_list" / "pseudo_labels.json"
    first = pseudo_label("--shard", "1/2", "--decoder", "argmax")
    assert "not in the list, since not (yet) done: 1 studies" in first.out
    assert len(json.loads(data_list.read_text())["training"]) == 1
    second = pseudo_label("--shard", "2/2", "--decoder", "argmax")
    assert second.code == 0
    expected = {entry["id"]: entry["expected_dice"] for entry in json.loads(data_list.read_text())["training"]}
    assert list(expected) == ["case_0", "case_1"]
    means = {name: np.mean(list(values.values())) for name, values in expected.items()}
    poor, good = sorted(means, key=means.get)
    strict = pseudo_label("--decoder", "argmax", "--min-expected-dice", (means[poor] + means[good]) / 2)
    assert strict.code == 0
    assert f"left out: {poor}: mean expected Dice {means[poor]:.4f}" in strict.out
    assert [entry["id"] for entry in json.loads(data_list.read_text())["training"]] == [good]


def test_soft_labels_can_be_decoded_later(pseudo_label, rankseg_med, phantoms, tmp_path):
    """By the same rule without cleanup, which gives at least as much of each label."""
    image = phantoms / "images" / "case_0.nii.gz"
    assert pseudo_label("--soft-labels", source=image).code == 0
    soft = tmp_path / "out" / "case_0_soft.nii.gz"
    assert nib.load(soft).shape == (*nib.load(image).shape, 3)
    result = rankseg_med("decode", soft, "--output", tmp_path / "decoded", "--coherence", "0")
    assert result.code == 0, result.err
    (decoded,) = (voxels_of(path) for path in (tmp_path / "decoded").glob("*.nii.gz"))
    cleaned = voxels_of(tmp_path / "out" / "case_0.nii.gz")
    assert cleaned.any()
    np.testing.assert_array_equal(decoded[cleaned > 0], cleaned[cleaned > 0])
    status = rankseg_med("status", tmp_path / "out")
    assert status.code == 0, status.out


def test_failures_are_reported_and_the_others_listed(pseudo_label, phantoms, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "bad.nii.gz").write_bytes(b"no image")
    (folder / "good.nii.gz").write_bytes((phantoms / "images" / "case_0.nii.gz").read_bytes())
    result = pseudo_label(source=folder)
    assert result.code == 1
    assert "failed: bad:" in result.out
    assert "1 pseudo-labels in" in result.out


def test_a_config_without_a_labeller(rankseg_med, phantoms, tmp_path):
    paths = ("--config", "demo", "--checkpoint", "demo", "--output", tmp_path / "out")
    for options in ((), ("--decoder", "argmax")):
        result = rankseg_med("pseudo-label", phantoms / "images", *paths, *options)
        assert result.code == 1
        assert "pseudo_labeller" in result.err
    assert not (tmp_path / "out").exists()


def test_empty_label_maps_are_not_trained_on(pseudo_label, tmp_path, monkeypatch):
    data_list = tmp_path / "out" / "data_list" / "pseudo_labels.json"
    assert pseudo_label().code == 0
    assert data_list.exists()
    # As of a teacher that finds nothing: the shipped one finds something in air.
    monkeypatch.setattr(module, "quality", lambda label: {**quality(label), "voxels": {"1": 0, "2": 0}})
    result = pseudo_label("--decoder", "argmax", "--overwrite")
    assert result.code == 1
    assert "left out: 2 without foreground, which --keep-empty keeps: case_0, case_1" in result.out
    assert not data_list.exists()
    kept = pseudo_label("--decoder", "argmax", "--keep-empty")
    assert (kept.code, "none of 2 pseudo-labels has any organ, tumour" in kept.out) == (1, True)
    assert not data_list.exists()
