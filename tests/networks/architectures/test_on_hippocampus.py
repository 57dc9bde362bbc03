"""Every architecture learns real volumes in a few hundred iterations, as a config has it."""

import pytest

from rankseg_med.configuration import load_config
from rankseg_med.studies import Study
from rankseg_med.training import split_studies, train

LEAST_DICE = 0.6
"""Mean Dice of both structures, by argmax, over four volumes that were held out."""


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["panet", "danet", "fastfcn", "deeplabv3", "gated_scnn", "pspnet"])
def test_it_learns_the_hippocampus(shared_data, tmp_path, name):
    images = sorted((shared_data / "hippocampus" / "images").glob("*.nii.gz"))[:20]
    labels = shared_data / "hippocampus" / "labels"
    studies = [Study(path.name, path, labels / path.name, number % 5) for number, path in enumerate(images)]
    changes = {"network": name, "roi_size": [32, 32, 32], "epochs": 4, "validate_every": 4}
    settings = load_config("train", "hippocampus", device="cpu", changes=changes)
    if name == "gated_scnn":
        settings["network_def::edges_in_training"] = True
        settings["loss"] = {"_target_": "rankseg_med.losses.DualTaskLoss", "loss": settings["loss"]}
    reports = []
    training, validation = split_studies(studies, fold=0)
    train(settings, training, validation, tmp_path / "run", on_epoch=reports.append)
    assert reports[-1].validation_dice > LEAST_DICE
