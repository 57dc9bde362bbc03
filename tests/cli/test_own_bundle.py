"""The repository is a MONAI Bundle: its own runner predicts, scores and trains with our configs."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import jsonschema
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, verify_net_in_out
from safetensors.torch import load_file

from rankseg_med.configuration import load_config
from rankseg_med.demo import make_phantom, write_phantom
from rankseg_med.networks import SHIPPED_WEIGHTS
from rankseg_med.studies import find_studies
from rankseg_med.workflows import build_manifest
from tests import zoo
from tests.conftest import REPOSITORY

CONFIGS, METADATA = REPOSITORY / "configs", REPOSITORY / "configs" / "metadata.json"
PREDICT = [str(CONFIGS / "inference.yaml"), str(CONFIGS / "demo.yaml")]
EVALUATE = [*PREDICT, str(CONFIGS / "evaluate.yaml")]
TRAIN = [str(CONFIGS / "train.yaml"), str(CONFIGS / "demo.yaml")]
# What the specification asks of metadata.json, in our words; MONAI's own schema is fetched from the net.
TENSOR = {
    "type": "object",
    "required": [
        *("type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data", "channel_def")
    ],
    "properties": {
        "type": {"enum": ["image", "series", "tuples", "probabilities"]},
        "num_channels": {"type": "integer", "minimum": 1},
        "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
        "value_range": {"type": "array"},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object", "patternProperties": {"^[0-9]+$": {"type": "string"}}},
    },
}
TENSORS = {"type": "object", "minProperties": 1, "additionalProperties": TENSOR}
TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version")
TEXTS = (*TEXTS, "task", "description", "authors", "copyright")
SCHEMA = {
    "type": "object",
    "required": [*TEXTS, "required_packages_version", "network_data_format"],
    "properties": {
        **{name: {"type": "string", "minLength": 1} for name in TEXTS},
        "changelog": {"type": "object"},
        "required_packages_version": {"type": "object", "additionalProperties": {"type": "string"}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {"inputs": TENSORS, "outputs": TENSORS},
        },
    },
}


def workflow(files, kind, **changes):
    made = ConfigWorkflow(
        files, meta_file=str(METADATA), logging_file=False, workflow_type=kind, bundle_root=str(REPOSITORY), **changes
    )
    made.initialize()
    return made


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    for seed, name in enumerate(["a", "b", "c"]):
        phantom = make_phantom(seed, shape=(48, 48, 32), spacing_mm=(6.0, 6.0, 8.0), axis_codes="LPS")
        write_phantom(phantom, folder / "images" / f"{name}.nii.gz", folder / "labels" / f"{name}.nii.gz")
    names = {1: "organ", 2: "tumour"}
    build_manifest(folder / "images", folder / "labels", folder / "list.json", label_names=names, folds=3)
    return folder


@pytest.fixture(scope="module")
def at(phantoms):
    return {"dataset_dir": str(phantoms / "images"), "manifest": str(phantoms / "list.json")}


def test_files_of_a_bundle():
    assert (REPOSITORY / "LICENSE").is_file()
    weights = torch.load(REPOSITORY / "models" / "model.pt", weights_only=True)
    expected = load_file(SHIPPED_WEIGHTS / "demo.safetensors")
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_metadata_keeps_the_specification():
    metadata = json.loads(METADATA.read_text())
    jsonschema.validate(metadata, SCHEMA)
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert list(pred["channel_def"].values()) == load_config("inference", "demo", device="cpu")["label_names"]


def test_the_network_takes_and_gives_what_the_metadata_says():
    verify_net_in_out(net_id="network_def", meta_file=str(METADATA), config_file=PREDICT, device="cpu")


@pytest.mark.parametrize(("files", "kind"), [(PREDICT, "infer"), (EVALUATE, "infer"), (TRAIN, "train")])
def test_properties(files, kind, at, phantoms):
    given = workflow(files, kind, **at, labels_dir=str(phantoms / "labels"))
    assert given.check_properties() == []
    assert given.version == "0.1.0"
    assert len(given.train_dataset if kind == "train" else given.dataset) == (2 if kind == "train" else 3)


@pytest.mark.parametrize(("files", "kind"), [(PREDICT, "infer"), (TRAIN, "train")])
def test_without_data_it_can_be_looked_at_but_not_run(files, kind, tmp_path, caplog):
    empty = workflow(files, kind, dataset_dir=str(tmp_path / "nowhere"))
    assert empty.check_properties() == []
    assert "nowhere" in caplog.text
    with pytest.raises(RuntimeError) as stopped:
        empty.run()
    assert "there are no studies to work on" in str(stopped.value.__cause__)


def test_the_runner_writes_what_predict_writes(rankseg_med, phantoms, at, tmp_path):
    made = workflow(PREDICT, "infer", **at, output_dir=str(tmp_path / "theirs"))
    made.run()
    options = ("--config", "demo", "--checkpoint", "demo", "--device", "cpu", "-o", tmp_path / "ours")
    assert rankseg_med("predict", phantoms / "images", *options).code == 0
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz", "dseg.tsv"):
        assert (tmp_path / "theirs" / name).read_bytes() == (tmp_path / "ours" / name).read_bytes()
    assert any(zoo.labels_in(path).any() for path in (tmp_path / "theirs").glob("*.nii.gz"))


def test_a_calibration_of_the_checkpoint_is_predicts(at):
    temperature = {"_target_": "rankseg_med.calibration.Temperature", "num_classes": 3}
    made = workflow(PREDICT, "infer", **at, calibration=temperature)
    with pytest.raises(RuntimeError) as refused:
        _ = made.evaluator
    assert "calibration must be the path of a file" in str(refused.value.__cause__)


def test_evaluation(phantoms, at, tmp_path):
    """Beside the Dice of what it has written, by its definition."""
    made = workflow(EVALUATE, "infer", **at, labels_dir=str(phantoms / "labels"), output_dir=str(tmp_path))
    made.run()
    scores = []
    for name in "abc":
        found, truth = (zoo.labels_in(folder / f"{name}.nii.gz") for folder in (tmp_path, phantoms / "labels"))
        pairs = [(found == label, truth == label) for label in (1, 2)]
        scores.append([2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else np.nan for a, b in pairs])
    expected = np.nanmean(np.nanmean(scores, axis=0))
    assert made.evaluator.state.metrics["dice"] == pytest.approx(expected)
    assert (tmp_path / "metrics.csv").is_file()


@pytest.mark.parametrize("loss", [{}, {"loss": {"_target_": "rankseg_med.losses.LovaszSoftmaxLoss"}}])
def test_training(at, tmp_path, loss):
    changes = {**loss, "epochs": 2, "iterations_per_epoch": 2, "validate_every": 1}
    changes |= {"spacing_mm": [6.0, 6.0, 8.0], "roi_size": [32, 32, 32]}
    made = workflow(TRAIN, "train", **at, **changes, output_dir=str(tmp_path))
    before = [values.clone() for values in made.network_def.parameters()]
    made.run()
    assert (made.trainer.state.iteration, made.evaluator.state.iteration) == (4, 1)
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert any(not torch.equal(*pair) for pair in zip(before, last.values(), strict=False))
    assert (tmp_path / "best.pt").is_file()


def test_what_is_the_runners_is_no_part_of_a_job(tmp_path):
    """Nor of its digest: an overlay may serve both."""
    settings = load_config("inference", "demo", device="cpu").get()
    assert not settings.keys() & {"dataset_dir", "evaluator", "run", "initialize", "postprocessing", "runner_imports"}
    (tmp_path / "mine.yaml").write_text("extends: demo\noutput_dir: elsewhere\nevaluator::amp: true\n")
    assert load_config("inference", tmp_path / "mine.yaml", device="cpu").get() == settings | {"extends": "demo"}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("fire") is None, reason="needs fire: pip install 'rankseg_med[bundle]'")
def test_on_the_command_line(phantoms, at, tmp_path):
    files = "['configs/inference.yaml','configs/demo.yaml']"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files]
    command += ["--dataset_dir", at["dataset_dir"], "--output_dir", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, check=True, cwd=REPOSITORY, env=environment)
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == len(find_studies(phantoms / "images"))
