"""The experiment on networks, from files to tables."""

import sys

import networks as pipeline
import pytest
import torch
from experiment_data import DATA_SETS, ExperimentData
from experiment_tables import SCORED

from rankseg_med.configuration import load_config
from rankseg_med.configuration.named_networks import NETWORKS
from rankseg_med.training import LAST, RECORD, TrainingRecord
from tests.pipelines.made_data import make_images, write_run


def test_every_name_is_an_arm_whose_windows_all_networks_take():
    assert set(pipeline.ARMS) == set(NETWORKS.components)
    for arm in pipeline.ARMS:
        settings = pipeline.changes_of(arm, "lung_nodules")
        assert settings["roi_size"] == [32, 32, 16]
        for job in ("train", "inference"):
            config = load_config(job, "lung_nodules", device="cpu", changes=settings)
            assert config["network_def"]["_target_"] == NETWORKS.components[arm]["_target_"]
            assert config["roi_size"] == [32, 32, 16]
        network = config.get_parsed_content("network_def").eval()
        with torch.no_grad():
            assert network(torch.zeros(1, 1, *settings["roi_size"])).shape == (1, 2, 32, 32, 16)


def test_changes_are_against_the_unet(tmp_path):
    write_run(tmp_path, "unet", 0, {"a_R_1": 0.2, "b_R_1": 0.5})
    write_run(tmp_path, "danet", 0, {"a_R_1": 0.3, "b_R_1": 0.6})
    tables = pipeline.report(tmp_path, lambda case_id: case_id[0])
    assert "Change of Dice against unet" in tables
    assert "| danet | argmax | 1 | +10.00 | - | +10.00 to +10.00 | +10.00 |" in tables


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["vnet", "danet"])
def test_from_files_to_tables(tmp_path, monkeypatch, capsys, arm):
    make_images(tmp_path, [f"case_{number}" for number in range(10)])
    monkeypatch.setitem(DATA_SETS, "hippocampus", ExperimentData("hippocampus", "always", 2, 2, 5, 1))
    options = ["--iterations", 2, "--seeds", 3, "--jobs", 1, "--arms", arm]
    arguments = ["hippocampus", tmp_path, tmp_path / "work", *options]
    monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
    pipeline.main()
    assert f"| {arm} | tuned | 1 |" in capsys.readouterr().out
    run = tmp_path / "work" / arm / "3"
    assert TrainingRecord.read(run / RECORD).config["roi_size"] == [32, 48, 32]
    trained = (run / LAST).stat().st_mtime_ns
    (run / SCORED).unlink()  # as if the run had been stopped before its end
    pipeline.main()
    assert (run / LAST).stat().st_mtime_ns == trained
