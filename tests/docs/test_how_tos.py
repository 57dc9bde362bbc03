"""Getting started, the how-tos and the concepts run as they stand there, on small data."""

import json
import shutil

import numpy as np
import pytest
import yaml

from rankseg_med.networks import shipped_checkpoint
from tests.docs import given
from tests.voxels import voxels_of


def labels_in(path):
    return set(np.unique(voxels_of(path)).tolist())


@pytest.mark.session("get_started.md")
def test_get_started(run, tmp_path):
    run()
    by_hand = (tmp_path / "predicted" / "canonical.nii.gz", tmp_path / "demo-output/predictions/dice/canonical.nii.gz")
    np.testing.assert_array_equal(*(voxels_of(path) for path in by_hand))


@pytest.mark.session("how_it_decides.md")
def test_how_it_decides(run):
    """The text beneath its block is what the two tables there come to by hand."""
    run()


@pytest.mark.session("how_to/monai.md")
def test_monai(run, tmp_path):
    given.write_studies(tmp_path / "images", tmp_path / "labels", "a", "b")
    shutil.copyfile(shipped_checkpoint("demo"), "best.safetensors")
    run()
    assert labels_in("by_dice/a.nii.gz") == labels_in("by_argmax/a.nii.gz") == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.session("how_to/nnunet.md")
def test_nnunet(run, tmp_path):
    labels = tmp_path / "labelsTr"
    for fold in range(2):
        names = [f"case_{fold}{number}" for number in range(5)]
        given.write_probabilities(tmp_path / f"model/fold_{fold}/validation", labels, *names)
    given.write_probabilities(tmp_path / "nnunet_output", tmp_path / "unknown", "new")
    for folder in ("model", "nnunet_output"):
        given.write_dataset(tmp_path / folder)
    run()
    assert 1 in labels_in("labels/new.nii.gz")
    assert (tmp_path / "labels/dseg.tsv").read_text().count("liver") == 1
    assert json.loads((tmp_path / "verdict/ab.json").read_text())["verdict"]["sentence"]
    assert (tmp_path / "tuned_labels/new.nii.gz").is_file()


@pytest.mark.session("how_to/batch.md")
def test_batch(run, tmp_path):
    given.write_studies(tmp_path / "scans", tmp_path / "labels_of_scans", "a", "b")
    given.write_studies(tmp_path / "incoming", tmp_path / "labels_of_incoming", "whole")
    given.cut_short(tmp_path / "incoming" / "cut_short.nii.gz")
    run()
    for name in "ab":
        np.testing.assert_array_equal(*(voxels_of(f"{folder}/{name}.nii.gz") for folder in ("labels", "shared")))


@pytest.mark.slow
@pytest.mark.session("how_to/challenge.md")
def test_challenge(run, tmp_path):
    for part in ("tuning", "held_out"):
        names = [f"{part}_{number}" for number in range(5)]
        given.write_probabilities(tmp_path / part / "probabilities", tmp_path / part / "labels", *names)
    given.write_probabilities(tmp_path / "test_probabilities", tmp_path / "unknown", "x", "y")
    run()
    assert {path.name for path in (tmp_path / "submission").glob("*.nii.gz")} == {"x.nii.gz", "y.nii.gz"}
    assert "lits" in json.loads((tmp_path / "scores_tuned/summary.json").read_text())
    assert (tmp_path / "ranking/ranking.csv").read_text().count("scores_untuned") == 4  # regions by metrics


@pytest.mark.slow
@pytest.mark.session("how_to/few_labels.md")
def test_few_labels(run, tmp_path):
    given.write_studies(tmp_path / "images", tmp_path / "labels", *"abcdef")
    given.write_studies(tmp_path / "unlabelled", tmp_path / "never read", *"uvw")
    run()
    assert yaml.safe_load((tmp_path / "few.yaml").read_text())["extends"] == "bcp_hippocampus"
    assert len(list((tmp_path / "predicted").glob("*.nii.gz"))) == 6
    assert json.loads((tmp_path / "pseudo/data_list/pseudo_labels.json").read_text())["training"]
    assert {path.name[0] for path in (tmp_path / "pseudo").glob("*.nii.gz")} == {*"uvw"}


@pytest.mark.session("how_to/clinic.md")
def test_clinic(run, tmp_path):
    given.write_studies(tmp_path, tmp_path / "labels", "study")
    run()
