"""What is trained and dealt out once stays so, whatever a script is asked for afterwards."""

import importlib
import subprocess

import pytest
import torch
import yaml

from rankseg_med.studies import Manifest
from tests.conftest import REPOSITORY


@pytest.fixture
def data_sets(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "pipelines"))
    return importlib.import_module("data_sets")


@pytest.fixture
def recipe_steps(data_sets):
    return importlib.import_module("recipe_steps")


def write_lits(folder, numbers):
    for number in numbers:
        for kind in ("volume", "segmentation"):
            (folder / f"{kind}-{number}.nii").touch()


def test_folds_are_those_of_the_shipped_list(data_sets, recipe_steps, tmp_path):
    write_lits(tmp_path, range(131))
    cases = data_sets.lits_cases(tmp_path)
    path = recipe_steps.write_list(tmp_path / "list.json", cases, data_sets.LITS, tmp_path, set(range(5)))
    shipped = Manifest.read(REPOSITORY / "data_manifests" / "lits.json")
    listed = Manifest.read(path).training
    assert sorted(listed, key=lambda entry: entry.id) == sorted(shipped.training, key=lambda entry: entry.id)
    path = recipe_steps.write_list(tmp_path / "test.json", cases, data_sets.LITS, tmp_path, {0})
    assert {entry.fold for entry in Manifest.read(path).training} == {0}


def test_cases_that_came_later_are_not_dealt_in(data_sets, recipe_steps, tmp_path):
    def write():
        return recipe_steps.write_list(
            tmp_path / "test.json", data_sets.lits_cases(tmp_path), data_sets.LITS, tmp_path, {0}
        )

    write_lits(tmp_path, range(28))
    before = write().read_bytes()
    assert write().read_bytes() == before
    write_lits(tmp_path, range(28, 131))
    with pytest.raises(SystemExit, match=r"test\.json: lists other cases"):
        write()
    assert (tmp_path / "test.json").read_bytes() == before


@pytest.fixture
def train(data_sets, recipe_steps, monkeypatch, tmp_path):
    """Trains with settings; returns what commands there were, of which none runs."""
    commands = []
    monkeypatch.setattr(recipe_steps, "rankseg_med", lambda *command, processes: commands.append([*map(str, command)]))

    def run_steps(*, seed=0, **entries):
        commands.clear()
        overlay = recipe_steps.overlay_of("hippocampus", data_sets.LITS) | entries
        work = tmp_path / "work"
        paths = (work / "config.yaml", work / "training.json", tmp_path, work / "run")
        recipe_steps.train(overlay, *paths, fold=1, seed=seed)
        return list(commands)

    return run_steps


def leave_run(run, *, epochs):
    """What a training leaves that was stopped after some epochs."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "training.json").touch()
    torch.save({"trainer": {"iteration": 50 * epochs, "epoch_length": 50}}, run / "last.pt")


def test_training_goes_on_until_its_last_epoch(train, tmp_path):
    (command,) = train()
    assert command[0] == "train"
    assert "--resume" not in command
    leave_run(tmp_path / "work" / "run", epochs=19)
    (command,) = train()
    assert "--resume" in command
    leave_run(tmp_path / "work" / "run", epochs=20)
    assert train() == []


def test_other_settings_are_refused_once_it_has_started(train, tmp_path):
    work = tmp_path / "work"
    train(epochs=3)
    train(epochs=2)
    leave_run(work / "run", epochs=2)
    assert train(epochs=2, device="cpu") == [], "where it runs makes no other results"
    kept = (work / "config.yaml").read_text()
    for changes, told in (
        ({"epochs": 4}, "epochs: was 2, is now 4"),
        ({"epochs": 2, "seed": 7}, "seed: was 0, is now 7"),
    ):
        with pytest.raises(SystemExit, match=told):
            train(**changes)
    assert (work / "config.yaml").read_text() == kept
    assert yaml.safe_load(kept)["epochs"] == 2


def test_a_config_that_cannot_be_used(data_sets, recipe_steps, train, tmp_path):
    with pytest.raises(SystemExit, match=r"work/config\.yaml: .*epoch"):
        train(epochz=3)
    with pytest.raises(SystemExit, match="no such config file"):
        recipe_steps.overlay_of(str(tmp_path / "missing.yaml"), data_sets.LITS)


def test_a_command_that_fails_ends_the_script(recipe_steps, monkeypatch):
    def fail(command, *, check):
        raise subprocess.CalledProcessError(3, command)

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(SystemExit, match="rankseg-med tune ended with exit code 3"):
        recipe_steps.rankseg_med("tune", "images")
