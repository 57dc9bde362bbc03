"""Trainings that start from the weights of another, on random volumes."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from rankseg_med.configuration import load_config
from rankseg_med.networks import CheckpointError, MisfitError
from rankseg_med.studies import Study, StudyError
from rankseg_med.training import LAST, RECORD, StartingWeights, train, train_to_end


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    rng = np.random.default_rng(0)
    study = Study("a", folder / "a.nii.gz", folder / "a_label.nii.gz")
    nib.save(nib.Nifti1Image(rng.normal(size=(8, 8, 8)).astype(np.float32), np.eye(4)), study.image)
    nib.save(nib.Nifti1Image(rng.integers(0, 3, (8, 8, 8)).astype(np.uint8), np.eye(4)), study.label)
    return [study]


def config(epochs=1, **changes):
    settings = load_config("train", "hippocampus", device="cpu")
    settings.update(
        {
            **{"roi_size": [8, 8, 8], "epochs": epochs, "iterations_per_epoch": 1, "batch_size": 1},
            **{"network_def::channels": [2, 4], "network_def::strides": [2]},
            # Nothing is learnt, so that weights show where they come from.
            "learning_rate": 1e-12,
            **changes,
        }
    )
    return settings


def weights_of(run):
    return torch.load(run / LAST, weights_only=True)["network"]


@pytest.fixture(scope="module")
def trained(studies, tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    train(config(), studies, [], run, seed=7)
    return run / LAST


def test_a_training_starts_from_weights_and_says_so(studies, trained, tmp_path):
    train(config(), studies, [], tmp_path / "run", weights=StartingWeights(trained))
    found, before = weights_of(tmp_path / "run"), weights_of(trained.parent)
    assert all(torch.allclose(found[name], before[name], atol=1e-6) for name in before)
    recorded = json.loads((tmp_path / "run" / RECORD).read_text())["weights"]
    assert recorded["file"] == str(trained)
    assert len(recorded["sha256"]) == 64
    assert (recorded["new_layers"], recorded["anew"]) == (False, [])


def test_other_classes_start_anew_only_if_that_is_asked_for(studies, trained, tmp_path):
    four = config(label_names=["background", "a", "b", "c"])
    with pytest.raises(MisfitError, match=r"of another shape: .*; --new-layers starts the layers that do not fit anew"):
        train(four, studies, [], tmp_path / "run", weights=StartingWeights(trained))
    assert not (tmp_path / "run" / RECORD).exists()
    four = config(label_names=["background", "a", "b", "c"])
    train(four, studies, [], tmp_path / "run", weights=StartingWeights(trained, new_layers=True))
    anew = json.loads((tmp_path / "run" / RECORD).read_text())["weights"]["anew"]
    found, before = weights_of(tmp_path / "run"), weights_of(trained.parent)
    assert anew
    assert {name for name in found if found[name].shape != before[name].shape} <= set(anew) < set(found)
    assert all(torch.allclose(found[name], before[name], atol=1e-6) for name in before if name not in anew)


def test_it_is_resumed_with_the_same_weights_alone(studies, trained, tmp_path):
    start, run = StartingWeights(trained), tmp_path / "run"
    train(config(), studies, [], run, weights=start)
    with pytest.raises(StudyError, match=r"--weights: was .*last\.pt \(SHA-256 \w{12}\.\.\.\), is now None"):
        train(config(2), studies, [], run, resume=True)
    with pytest.raises(StudyError, match="new layers for what does not fit"):
        train(config(2), studies, [], run, resume=True, weights=StartingWeights(trained, new_layers=True))
    elsewhere = tmp_path / "moved.pt"
    elsewhere.write_bytes(trained.read_bytes())
    assert train(config(2), studies, [], run, resume=True, weights=StartingWeights(elsewhere))
    assert json.loads((run / RECORD).read_text())["weights"]["file"] == str(trained)
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        train(config(), studies, [], tmp_path / "other", weights=StartingWeights(tmp_path / "absent.pt"))


def test_training_to_the_end(studies, tmp_path):
    run = tmp_path / "run"
    assert train_to_end(config(), studies, [], run)
    before = (run / LAST).read_bytes()
    assert train_to_end(config(), studies, [], run)
    assert (run / LAST).read_bytes() == before
    with pytest.raises(StudyError, match="batch_size: was 1, is now 2"):
        train_to_end(config(batch_size=2), studies, [], run)
    assert train_to_end(config(2), studies, [], run)
    assert torch.load(run / LAST, weights_only=True)["trainer"]["iteration"] == 2


def test_killed_before_anything_was_trained(studies, tmp_path):
    """Between the record and the first checkpoint."""
    run = tmp_path / "run"
    train(config(), studies, [], run)
    for name in (LAST, "history.csv"):
        (run / name).unlink()
    assert train_to_end(config(), studies, [], run)
    (run / LAST).unlink()
    with pytest.raises(StudyError, match="is missing; put it back"):
        train_to_end(config(), studies, [], run)


def test_weights_of_voxels(studies, tmp_path):
    """A loss of none is 0: weights come from the file to the loss."""
    (study,) = studies
    weighted = Study(study.case_id, study.image, study.label, weight=tmp_path / "weight.nii.gz")
    keys = {"keys": ["image", "label", "weight"]}
    changes = {
        **{f"preprocessing::transforms::{index}::keys": keys["keys"] for index in (0, 1, 2)},
        "preprocessing::transforms::0::is_label": [False, True, False],
        "preprocessing::transforms::2::mode": ["bilinear", "nearest", "bilinear"],
        "augmentation::transforms": [],
        "loss": {"_target_": "rankseg_med.losses.WeightedCrossEntropyLoss"},
    }
    losses = {}
    for value in (0, 1):
        nib.save(nib.Nifti1Image(np.full((8, 8, 8), value, np.float32), np.eye(4)), weighted.weight)
        reports = []
        train(config(**changes), [weighted], [], tmp_path / str(value), on_epoch=reports.append)
        losses[value] = reports[-1].loss
    assert losses[0] == 0 < losses[1]
    files = json.loads((tmp_path / "1" / RECORD).read_text())["training"][0]["files"]
    assert files[-1] == str(weighted.weight)
    with pytest.raises(StudyError, match="needs the weights of every study's voxels, but the data list has none of a"):
        train(config(**changes), studies, [], tmp_path / "without")
    with pytest.raises(StudyError, match="takes none; take rankseg_med"):
        train(config(), [weighted], [], tmp_path / "unused")
