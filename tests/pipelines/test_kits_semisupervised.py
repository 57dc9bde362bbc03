"""The KiTS recipe on phantoms that lie as KiTS19 and KiTS23 do."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.studies import Manifest
from tests.pipelines.conftest import semisupervised


def write_cases(folder, *, cysts):
    """Six cases, and one of the test set, which has no segmentation."""
    for number in range(7):
        phantom = make_phantom(number, shape=(24, 32, 32), spacing_mm=(9.0, 9.0, 9.0), axis_codes="IPL")
        if cysts:
            halves = np.arange(phantom.labels.shape[0])[:, None, None] % 2
            phantom = replace(phantom, labels=np.where((phantom.labels == 2) & (halves == 1), 3, phantom.labels))
        case = folder / f"case_{number:05}"
        write_phantom(phantom, case / "imaging.nii.gz", case / "segmentation.nii.gz")
    (folder / "case_00006" / "segmentation.nii.gz").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("challenge", "regions"),
    [("kits19", {"kidney", "tumour"}), ("kits23", {"kidney_and_mass", "mass", "tumour"})],
)
def test_from_the_download_to_scores(run_recipe, tmp_path, challenge, regions):
    data, work = tmp_path / "data", tmp_path / "work"
    write_cases(data, cysts=challenge == "kits23")
    options = (data, work, "--labelled", 2, "--challenge", challenge, "--arms", "rankseg", "--seed", 1)
    commands = run_recipe("kits_semisupervised.py", *options, configs=semisupervised("kits"))
    assert [command[0] for command in commands] == ["train", "predict", "evaluate"]
    folder = work / "rankseg" / "seed_1"
    last_layer = list(torch.load(folder / "run" / "last.pt", weights_only=True)["network"].values())[-1]
    assert len(last_layer) == (4 if challenge == "kits23" else 3)
    test = Manifest.read(work / "test.json").training
    with (folder / "scores" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case_id"] for row in rows} == {entry.id for entry in test}
    assert {row["name"] for row in rows} == regions
    listed = [*test, *Manifest.read(work / "training.json").training]
    assert sorted(entry.id for entry in listed) == [f"case_{number:05}" for number in range(6)]
