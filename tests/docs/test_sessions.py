"""The sessions of the documentation run as they stand there, on small data."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import yaml

from rankseg_med.networks import shipped_checkpoint
from tests.docs import given
from tests.docs.sessions import run_session


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a page in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda page, **options: run_session(page, monkeypatch, **options)


def labels_in(path):
    return set(np.unique(np.asarray(nib.load(path).dataobj)).tolist())


def test_networks(run):
    run("networks.md", heading="A session")
    image = nib.load("scans/a.nii.gz")
    for folder in ("dice", "argmax"):
        assert nib.load(f"{folder}/a.nii.gz").shape == image.shape
        assert labels_in(f"{folder}/a.nii.gz") <= {0, 1, 2}


def test_get_started(run, tmp_path):
    run("get_started.md")
    by_hand = (tmp_path / "predicted" / "canonical.nii.gz", tmp_path / "demo-output/predictions/dice/canonical.nii.gz")
    np.testing.assert_array_equal(*(np.asarray(nib.load(path).dataobj) for path in by_hand))


def test_how_it_decides(run):
    """The text beneath its block is what the two tables there come to by hand."""
    run("how_it_decides.md")


def test_monai(run, tmp_path):
    given.write_studies(tmp_path / "images", tmp_path / "labels", "a", "b")
    shutil.copyfile(shipped_checkpoint("demo"), "best.safetensors")
    run("how_to/monai.md")
    assert labels_in("by_dice/a.nii.gz") == labels_in("by_argmax/a.nii.gz") == {0, 1, 2}


@pytest.mark.slow
def test_nnunet(run, tmp_path):
    labels = tmp_path / "labelsTr"
    for fold in range(2):
        names = [f"case_{fold}{number}" for number in range(5)]
        given.write_probabilities(tmp_path / f"model/fold_{fold}/validation", labels, *names)
    given.write_probabilities(tmp_path / "nnunet_output", tmp_path / "unknown", "new")
    for folder in ("model", "nnunet_output"):
        given.write_dataset(tmp_path / folder)
    run("how_to/nnunet.md")
    assert 1 in labels_in("labels/new.nii.gz")
    assert (tmp_path / "labels/dseg.tsv").read_text().count("liver") == 1
    assert json.loads((tmp_path / "verdict/ab.json").read_text())["verdict"]["sentence"]
    assert (tmp_path / "tuned_labels/new.nii.gz").is_file()


def test_batch(run, tmp_path):
    given.write_studies(tmp_path / "scans", tmp_path / "labels_of_scans", "a", "b", "c")
    given.write_studies(tmp_path / "incoming", tmp_path / "labels_of_incoming", "whole")
    given.cut_short(tmp_path / "incoming" / "cut_short.nii.gz")
    run("how_to/batch.md")
    for name in "abc":
        np.testing.assert_array_equal(
            *(np.asarray(nib.load(f"{folder}/{name}.nii.gz").dataobj) for folder in ("labels", "shared"))
        )


def test_challenge(run, tmp_path):
    for part in ("tuning", "held_out"):
        names = [f"{part}_{number}" for number in range(5)]
        given.write_probabilities(tmp_path / part / "probabilities", tmp_path / part / "labels", *names)
    given.write_probabilities(tmp_path / "test_probabilities", tmp_path / "unknown", "x", "y")
    run("how_to/challenge.md")
    assert {path.name for path in (tmp_path / "submission").glob("*.nii.gz")} == {"x.nii.gz", "y.nii.gz"}
    assert "lits" in json.loads((tmp_path / "scores_tuned/summary.json").read_text())
    assert (tmp_path / "ranking/ranking.csv").read_text().count("scores_untuned") == 4  # regions by metrics


@pytest.mark.slow
def test_few_labels(run, tmp_path):
    given.write_studies(tmp_path / "images", tmp_path / "labels", *"abcdef")
    run("how_to/few_labels.md")
    assert yaml.safe_load((tmp_path / "few.yaml").read_text())["extends"] == "bcp_hippocampus"
    assert len(list((tmp_path / "predicted").glob("*.nii.gz"))) == 6
    assert json.loads((tmp_path / "pseudo/data_list/pseudo_labels.json").read_text())["training"]


def test_clinic(run, tmp_path):
    given.write_studies(tmp_path, tmp_path / "labels", "study")
    run("how_to/clinic.md")


def test_dicom(run):
    run("dicom.md", heading="A session")


def test_bids(run):
    run("bids.md", heading="A session")
