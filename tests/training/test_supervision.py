from threading import Event

import nibabel as nib
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rankseg_med.configuration import load_config
from rankseg_med.configuration.named_losses import LOSSES
from rankseg_med.losses import BoundaryLoss, FrequencyWeightedCELoss
from rankseg_med.studies import Study
from rankseg_med.training import LAST, train
from rankseg_med.training.supervision import Supervision


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two cubes, one in the other."""
    folder = tmp_path_factory.mktemp("studies")
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:7, 2:7, 2:7] = 1
    labels[4:6, 4:6, 4:6] = 2
    found = []
    for index in range(2):
        study = Study(f"cube_{index}", folder / f"i{index}.nii.gz", folder / f"l{index}.nii.gz")
        image = (labels + rng.normal(scale=0.3, size=labels.shape)).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), study.image)
        nib.save(nib.Nifti1Image(labels, np.eye(4)), study.label)
        found.append(study)
    return found


def settings(loss, epochs=1, iterations=2):
    changes = {
        **{"roi_size": [8, 8, 8], "epochs": epochs, "iterations_per_epoch": iterations, "validate_every": 99},
        **{"network": {"unet": {"channels": [4, 8], "strides": [2]}}, "loss": loss},
    }
    return load_config("train", "hippocampus", device="cpu", changes=changes)


def curves(run):
    """Tag to iteration to value, of what TensorBoard shows."""
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return {tag: {scalar.step: scalar.value for scalar in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_every_name_trains_by_a_config(studies, tmp_path):
    train(settings(dict.fromkeys(LOSSES.components, 1.0)), studies, [], tmp_path / "run")
    seen = curves(tmp_path / "run")
    for iteration in (1, 2):
        values = [seen[f"loss/{name}"][iteration] for name in LOSSES.components]
        assert np.isfinite(values).all()
        assert seen["train_loss"][iteration] == pytest.approx(sum(values), rel=1e-5)


class StopAfter(Event):
    """Is set after so many looks at it, one an iteration."""

    def __init__(self, looks: int):
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_a_scheduled_sum_resumes_to_the_bit(studies, tmp_path):
    """Ended after the second iteration of each epoch."""

    def started(run, **options):
        loss = {"dice_ce": 1.0, "boundary": {"weight": {"from": 0.0, "to": 0.5, "iterations": 5}}}
        return train(settings(loss, epochs=2, iterations=3), studies, [], tmp_path / run, seed=1, **options)

    assert started("whole")
    assert not started("parts", stop=StopAfter(1))
    assert not started("parts", stop=StopAfter(2), resume=True)
    assert started("parts", resume=True)
    whole, parts = curves(tmp_path / "whole"), curves(tmp_path / "parts")
    assert len(whole["train_loss"]) == 6
    assert list(whole["loss_weight/boundary"].values()) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    for tag in ("train_loss", "loss/dice_ce", "loss/boundary", "loss_weight/boundary"):
        assert whole[tag] == parts[tag]
    first, second = (torch.load(tmp_path / run / LAST, weights_only=True)["network"] for run in ("whole", "parts"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_distances_are_made_where_the_loss_needs_them_alone():
    assert Supervision(FrequencyWeightedCELoss(), 3).transforms == []
    (transform,) = Supervision(BoundaryLoss(), 3).transforms
    assert transform.transform.num_classes == 3


def test_targets_are_plain_tensors_by_name():
    batch = {"image": torch.ones(1, 1, 2, 2), "label": torch.zeros(1, 1, 2, 2), "distances_mm": torch.ones(1, 2, 2, 2)}
    logits = torch.zeros(1, 2, 2, 2)
    supervision = Supervision(BoundaryLoss(), 2)
    image, targets = supervision(batch)
    assert torch.equal(image, batch["image"])
    assert list(targets) == ["label", "distances_mm"]
    assert float(supervision.loss(logits, targets)) == pytest.approx(0.5)
    _, targets = Supervision(FrequencyWeightedCELoss(), 2)(batch)
    assert list(targets) == ["label"]
