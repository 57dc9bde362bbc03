import nibabel as nib
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rankseg_med.studies import Study, StudyError
from rankseg_med.workflows.config import load_config
from rankseg_med.workflows.train import BEST, LAST, split_studies, train


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Bright balls in noise: learnable in seconds."""
    folder = tmp_path_factory.mktemp("studies")
    rng = np.random.default_rng(0)
    found = []
    for index in range(5):
        centre = rng.uniform(6, 10, 3)
        distance = np.linalg.norm(np.indices((16, 16, 16)).T - centre, axis=-1).T
        labels = (distance < 4).astype(np.uint8) + (distance < 2)
        image = rng.normal(scale=0.3, size=labels.shape) + labels
        study = Study(f"ball_{index}", folder / f"i{index}.nii.gz", folder / f"l{index}.nii.gz", index % 5)
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), study.image)
        nib.save(nib.Nifti1Image(labels.astype(np.uint8), np.eye(4)), study.label)
        found.append(study)
    return found


def config(epochs: int):
    settings = load_config("train", "hippocampus", device="cpu")
    settings.update(
        {
            **{"roi_size": [16, 16, 16], "epochs": epochs, "iterations_per_epoch": 10, "validate_every": 1},
            "network_def::channels": [4, 8],
            "network_def::strides": [2],
            "learning_rate": 0.02,
        }
    )
    return settings


def test_training_learns_and_leaves_checkpoints_and_scalars(studies, tmp_path):
    reports = []
    training, validation = split_studies(studies, fold=0)
    train(config(4), training, validation, tmp_path / "run", on_epoch=reports.append)
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert reports[-1].loss < 0.6 * reports[0].loss
    assert reports[-1].validation_dice > 0.7
    for name in (LAST, BEST):
        content = torch.load(tmp_path / "run" / name, weights_only=True)
        weights = content.get("network", content)
        assert all(isinstance(value, torch.Tensor) for value in weights.values())
    scalars = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    tags = scalars.Tags()["scalars"]
    assert "train_loss" in tags
    assert "val_mean_dice" in tags
    assert len(scalars.Scalars("train_loss")) == 40
    assert scalars.Scalars("val_mean_dice")[-1].value == pytest.approx(reports[-1].validation_dice)


def test_resuming_goes_on_where_it_stopped(studies, tmp_path):
    training, validation = split_studies(studies, fold=0)
    train(config(1), training, validation, tmp_path / "run")
    with pytest.raises(StudyError, match="exists already; go on with --resume"):
        train(config(3), training, validation, tmp_path / "run")
    reports = []
    train(config(3), training, validation, tmp_path / "run", resume=True, on_epoch=reports.append)
    assert [report.epoch for report in reports] == [2, 3]
    assert torch.load(tmp_path / "run" / LAST, weights_only=True)["trainer"]["iteration"] == 30
    assert sorted(path.name for path in (tmp_path / "run").glob("*.pt")) == [BEST, LAST]
    with pytest.raises(StudyError, match="has 3 of 3 epochs already; ask for more with --epochs"):
        train(config(3), training, validation, tmp_path / "run", resume=True)
    with pytest.raises(StudyError, match="there is no run to resume"):
        train(config(1), training, validation, tmp_path / "empty", resume=True)


def test_same_seed_same_network(studies, tmp_path):
    training, _ = split_studies(studies, fold=0)
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config(1), training, [], tmp_path / name, seed=seed)
        assert not (tmp_path / name / BEST).exists()
        weights.append(torch.load(tmp_path / name / LAST, weights_only=True)["network"])
    first, same, other = weights
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_loss_that_is_no_number_stops_with_the_reason(studies, tmp_path):
    settings = config(1)
    settings["learning_rate"] = 1e30
    with pytest.raises(RuntimeError, match=r"the loss became (nan|inf).*; lower the learning rate"):
        train(settings, studies, [], tmp_path / "run")


def test_a_bad_study_is_named(studies, tmp_path):
    bad = Study("bad", tmp_path / "bad.nii.gz", studies[0].label)
    bad.image.write_bytes(b"no image")
    with pytest.raises(StudyError, match=r"bad\.nii\.gz"):
        train(config(1), [*studies, bad], [], tmp_path / "run")


def test_split_by_fold_and_number(studies):
    training, validation = split_studies(studies, fold=2)
    assert [study.case_id for study in validation] == ["ball_2"]
    assert len(training) == 4
    assert split_studies(studies, fold=None) == (studies, [])
    two, _ = split_studies(studies, fold=2, labelled=2, seed=5)
    three, _ = split_studies(studies, fold=2, labelled=3, seed=5)
    assert set(two) < set(three) < set(training)
    assert two == split_studies(list(reversed(studies)), fold=2, labelled=2, seed=5)[0]
    with pytest.raises(StudyError, match="asked for 9 labelled studies, the data list has 4"):
        split_studies(studies, fold=2, labelled=9)
    with pytest.raises(StudyError, match="no study of the data list is in fold 7"):
        split_studies(studies, fold=7)
