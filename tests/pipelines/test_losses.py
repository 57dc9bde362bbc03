"""The experiment on losses from files to tables."""

import json
import sys

import losses as pipeline
import losses_report
import numpy as np
import pytest
import torch
import yaml
from experiment_data import DATA_SETS, ExperimentData, split_of
from losses_calibration import measure, read_trust

from rankseg_med.configuration import load_config
from rankseg_med.losses import SurrogateLoss
from rankseg_med.studies import Manifest, NnunetLabels
from rankseg_med.training import RECORD, TrainingRecord
from tests.pipelines.made_data import make_images, write_run

TINY = ExperimentData("hippocampus", "always", 2, 2, 5, 1)


def test_every_loss_has_a_config_of_its_own(tmp_path):
    loss = {"_target_": "rankseg_med.losses.SurrogateLoss", "metric": "mIoU"}
    (tmp_path / "loss.yaml").write_text(yaml.safe_dump({"loss": loss}))
    found = {}
    for arm in losses_report.ARMS:
        overlay = tmp_path / "loss.yaml" if arm == losses_report.SEARCHED else None
        config = pipeline.config_of(arm, "lung_nodules", 1000, overlay)
        assert config["epochs"] * config["iterations_per_epoch"] == 1000
        found[arm] = config.get_parsed_content("loss")
    logits, labels = torch.randn(2, 2, 8, 8, 8), torch.randint(2, (2, 1, 8, 8, 8))
    assert len({float(loss(logits, labels)) for loss in found.values()}) == len(losses_report.ARMS)
    assert isinstance(found[losses_report.SEARCHED], SurrogateLoss)
    start = load_config("train", "loss_proxy_lung_nodules", device="cpu").get_parsed_content("loss")
    assert float(start(logits, labels)) == float(found[losses_report.UNSEARCHED](logits, labels))


def test_lists_have_the_training_patients_of_each_seed(tmp_path, monkeypatch):
    make_images(tmp_path, [f"{patient}_R_{nodule}" for patient in "abcdefghijkl" for nodule in (1, 2)])
    data_set = ExperimentData("lung_nodules", "always", 1, 3, 2, 2, lambda case_id: case_id[0])
    monkeypatch.setitem(DATA_SETS, "lung_nodules", data_set)
    pipeline.write_lists("lung_nodules", tmp_path, [0, 1], tmp_path / "lists")
    for seed in (0, 1):
        listed = Manifest.read(tmp_path / "lists" / f"{seed}.json").training
        split = split_of(data_set, tmp_path, seed, 2)
        assert {entry.id for entry in listed} == {study.case_id for study in (*split.labelled, *split.unlabelled)}
        folds = {entry.id[0]: {other.fold for other in listed if other.id[0] == entry.id[0]} for entry in listed}
        assert all(len(of_patient) == 1 for of_patient in folds.values())
        assert set.union(*folds.values()) == {0, 1, 2, 3, 4}
        assert (tmp_path / listed[0].image).exists()


def test_a_loss_that_has_seen_test_patients_is_refused(tmp_path):
    make_images(tmp_path, [f"case_{number}" for number in range(10)])
    split = split_of(TINY, tmp_path, 0, 1)
    found = pipeline.Experiment("hippocampus", 2, str(tmp_path / "found/{seed}/loss.yaml"))
    folder = tmp_path / "found" / "0"
    folder.mkdir(parents=True)
    (folder / "loss.yaml").write_text("loss: null")
    with pytest.raises(SystemExit, match=r"must be a searched loss, with search\.json beside it"):
        pipeline._searched(found, 0, split, losses_report.SEARCHED)
    for study, is_leak in ((split.unlabelled[0], False), (split.test[0], True), (split.validation[0], True)):
        task = {"training": [], "validation": [{"case_id": study.case_id}]}
        (folder / "search.json").write_text(json.dumps({"task": task}))
        if is_leak:
            with pytest.raises(SystemExit, match=f"seed 0 tunes or is scored on: {study.case_id}"):
                pipeline._searched(found, 0, split, losses_report.SEARCHED)
        else:
            assert pipeline._searched(found, 0, split, losses_report.SEARCHED) == folder / "loss.yaml"
    with pytest.raises(SystemExit, match="name its overlay with --searched"):
        pipeline._searched(pipeline.Experiment("hippocampus", 2, None), 0, split, losses_report.SEARCHED)


def test_losses_of_two_searches_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.setitem(DATA_SETS, "hippocampus", TINY)
    make_images(tmp_path, [f"case_{number}" for number in range(10)])
    found = pipeline.Experiment("hippocampus", 50, str(tmp_path / "found/{seed}/loss.yaml"))
    loss = {"_target_": "rankseg_med.losses.SurrogateLoss", "metric": "Dice"}
    for name, content in (("loss.yaml", {"loss": loss}), ("search.json", {"task": {"training": [], "validation": []}})):
        (tmp_path / "found" / "0").mkdir(parents=True, exist_ok=True)
        (tmp_path / "found" / "0" / name).write_text(json.dumps(content))
    record = tmp_path / "work" / losses_report.SEARCHED / "0" / RECORD
    trained = pipeline.config_of(losses_report.SEARCHED, "hippocampus", 50, tmp_path / "found" / "0" / "loss.yaml")
    TrainingRecord.of(trained.get(), [], [], [], seed=0, processes=1, choice={}, weights=None).write(record)
    pipeline._check_searched(found, tmp_path, [0], tmp_path / "work")
    (tmp_path / "found" / "0" / "loss.yaml").write_text(json.dumps({"loss": {**loss, "metric": "mIoU"}}))
    with pytest.raises(SystemExit, match="was trained with another loss than that of"):
        pipeline._check_searched(found, tmp_path, [0, 1], tmp_path / "work")


class Known:
    """A case of four voxels."""

    case_id = "a"

    def probabilities(self):
        foreground = torch.tensor([0.9, 0.7, 0.4, 0.0])
        return torch.stack([1 - foreground, foreground])[:, :, None, None]

    def reference(self):
        return torch.tensor([1, 0, 1, 0], dtype=torch.uint8)[:, None, None]


def test_calibration_by_hand(tmp_path):
    measure([Known()], NnunetLabels({"nodule": (1,)}, 2, None), tmp_path)
    trust = read_trust(tmp_path)
    # Bins of a sixteenth: each voxel is alone in its own.
    assert trust.ece == pytest.approx((0.1 + 0.7 + 0.6 + 0) / 4, rel=1e-3)
    # Argmax finds two voxels, with 1.6 of a mass of 2; one of them, and one of two true ones, is right.
    assert trust.promised == {"a": pytest.approx(2 * 1.6 / (2 + 2), rel=1e-6)}
    assert trust.reached == {"a": 0.5}


def test_tables_by_hand(tmp_path):
    for seed, gain in ((0, 0.0), (1, 0.2)):
        write_run(tmp_path, "dice_ce", seed, {"a_R_1": 0.2, "b_R_1": 0.5})
        write_run(tmp_path, "focal", seed, {"a_R_1": 0.2 + gain, "b_R_1": 0.5 + gain})
        for arm in ("dice_ce", "focal"):
            trust = {"ece": 0.01, "promised": {"a": 0.5 + gain, "b": 0.7}, "reached": {"a": 0.4, "b": 0.8}}
            (tmp_path / arm / str(seed) / "calibration.json").write_text(json.dumps(trust))
    tables = losses_report.report(tmp_path, lambda case_id: case_id[0])
    assert "| focal | argmax | 2 | +10.00 | -117.06 to +137.06 | +10.00 to +10.00 | +0.00 +20.00 |" in tables
    # Both decoders have the same scores here.
    assert "| focal | 2 | +0.00 | +0.00 to +0.00 | +0.00 to +0.00 | +0.00 +0.00 |" in tables
    # Promised 60 and 70 of 60; the cases are off by 10 and 10, and by 30 and 10.
    assert "| focal | 2 | 1.000 | 65.00 | 60.00 | +5.00 | 15.00 |" in tables


@pytest.mark.slow
def test_from_files_to_tables(tmp_path, monkeypatch, capsys):
    make_images(tmp_path, [f"case_{number}" for number in range(10)])
    monkeypatch.setitem(DATA_SETS, "hippocampus", TINY)
    options = ["--iterations", 2, "--seeds", 3, "--jobs", 1, "--arms", "ce"]
    arguments = ["hippocampus", tmp_path, tmp_path / "work", *options]
    monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
    pipeline.main()
    tables = capsys.readouterr().out
    assert "| ce | tuned |" in tables
    assert "promised too much" in tables
    trust = read_trust(tmp_path / "work" / "ce" / "3")
    assert 0 < trust.ece < 1
    assert len(trust.reached) == 2
    assert np.isfinite(list(trust.promised.values())).all()
