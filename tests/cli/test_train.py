"""The train command: splits, options, errors."""

import logging

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from rankseg_med.studies import LabelledEntry, Manifest
from rankseg_med.workflows.train import LAST


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
        "teacher::calibration": None,
    }
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(overlay))
    return {"config": config, "manifest": manifest, "further": tmp_path / "further", "run": tmp_path / "run"}


@pytest.fixture
def train(rankseg_med, data, caplog):
    def run(*options):
        paths = ("--config", data["config"], "--manifest", data["manifest"], "--output", data["run"])
        with caplog.at_level(logging.INFO, logger="rankseg_med"):
            return rankseg_med("train", *paths, "--epochs", 1, "--device", "cpu", *options)

    return run


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
