"""What every command has: short options, examples, a dry run, changes of a config's entries."""

import csv
import json
import shlex

import nibabel as nib
import numpy as np
import pytest
import typer.main

from rankseg_med.cli.app import app
from rankseg_med.demo import make_phantom, write_phantom
from rankseg_med.studies import labels_named_in

DEMO = ("--config", "demo", "--checkpoint", "demo", "--device", "cpu")
COMMANDS = {info.name: info for info in app.registered_commands}
PARAMETERS = {name: command.params for name, command in typer.main.get_command(app).commands.items()}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name in ("a", "b"):
        write_phantom(
            make_phantom(5, shape=(48, 48, 24)), folder / f"{name}.nii.gz", folder / "labels" / f"{name}.nii.gz"
        )
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_the_command_understands(rankseg_med, command):
    shown = rankseg_med(command, "-h")
    assert shown.code == 0
    title, *examples = (COMMANDS[command].epilog or "").split("\n\n")
    assert (title, len(examples) >= 2) == ("Examples:", True)
    for example in examples:
        program, name, *arguments = shlex.split(example)
        assert (program, name) == ("rankseg-med", command)
        known = {option for parameter in PARAMETERS[command] for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("-")} <= known


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(rankseg_med, images, tmp_path):
    out = tmp_path / "out"
    result = rankseg_med("predict", images, *DEMO, "-o", out, "--dry-run")
    assert (result.code, out.exists()) == (0, False)
    assert "todo: a" in result.out
    assert "2 studies for" in result.out
    assert ": 2 to do, 0 done before, 0 stale, 0 refused" in result.out
    assert "memory: up to " in result.out
    assert "ignored: 1 files" in result.out
    assert rankseg_med("predict", images / "a.nii.gz", *DEMO, "-o", out).code == 0
    before = sorted((path.name, path.stat().st_mtime_ns) for path in out.iterdir())
    again = rankseg_med("predict", images, *DEMO, "-o", out, "--dry-run")
    assert (again.code, ": 1 to do, 1 done before, 0 stale, 0 refused" in again.out) == (0, True)
    other = rankseg_med("predict", images, *DEMO, "-o", out, "--dry-run", "--decoder", "iou")
    assert other.code == 1
    assert "stale: a: written " in other.out
    assert 'with other settings: decoder::name was "dice", is "iou"' in other.out
    again = rankseg_med("predict", images, *DEMO, "-o", out, "--dry-run", "--decoder", "iou", "--overwrite")
    assert again.code == 0
    assert "todo: a: written" in again.out
    assert ": 2 to do, 0 done before, 0 stale, 0 refused" in again.out
    assert sorted((path.name, path.stat().st_mtime_ns) for path in out.iterdir()) == before


def test_a_dry_run_names_what_cannot_be_read(rankseg_med, images, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.nii.gz").symlink_to(images / "a.nii.gz")
    (folder / "bad.nii.gz").write_bytes(b"no gzip")
    result = rankseg_med("predict", folder, *DEMO, "-o", tmp_path / "out", "--dry-run")
    assert result.code == 1
    assert "refused: bad: " in result.out
    assert ": 1 to do, 0 done before, 0 stale, 1 refused" in result.out


def test_entries_of_a_config_are_changed_by_name(rankseg_med, images, tmp_path):
    change = ("--set", "decoder::name=iou", "--set", "decoder::coherence=0.5")
    assert rankseg_med("predict", images / "a.nii.gz", *DEMO, "-o", tmp_path, *change).code == 0
    decoder = json.loads((tmp_path / "a.json").read_text())["decoder"]
    assert "metric='iou'" in decoder
    assert "coherence=0.5" in decoder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("decoder::nmae=iou", "nmae"),
        ("decodr=1", "did you mean decoder?"),
        ("decoder::name", "KEY=VALUE"),
        ("decoder::name=[", "no YAML"),
    ],
)
def test_changes_that_nothing_understands(rankseg_med, images, tmp_path, change, message):
    result = rankseg_med("predict", images / "a.nii.gz", *DEMO, "-o", tmp_path / "out", "--set", change)
    assert result.code in (1, 2)
    assert message in " ".join(result.err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_one_image_to_one_file(rankseg_med, images, tmp_path):
    path = tmp_path / "new" / "liver.nii.gz"
    assert rankseg_med("predict", images / "a.nii.gz", *DEMO, "-o", path).code == 0
    assert nib.load(path).get_data_dtype() == np.uint8
    assert json.loads((tmp_path / "new" / "liver.json").read_text())["case_id"] == "liver"
    several = rankseg_med("predict", images, *DEMO, "-o", path)
    assert (several.code, "2 studies" in several.err) == (2, True)
    plain = rankseg_med("predict", images / "a.nii.gz", *DEMO, "-o", tmp_path / "liver.nii")
    assert (plain.code, ".nii.gz" in plain.err) == (2, True)


def test_names_travel_from_the_config_to_the_scores(rankseg_med, images, tmp_path):
    assert rankseg_med("predict", images, *DEMO, "-o", tmp_path / "out").code == 0
    names = json.loads((tmp_path / "out" / "a.json").read_text())["label_names"]
    assert labels_named_in(tmp_path / "out" / "a.nii.gz") == {int(label): name for label, name in names.items()}
    scored = rankseg_med("evaluate", tmp_path / "out", images / "labels", "-o", tmp_path / "scores")
    assert scored.code == 0
    with (tmp_path / "scores" / "scores.csv").open(newline="") as file:
        assert {row["name"] for row in csv.DictReader(file)} == set(names.values())


def test_quiet_leaves_results_and_errors(rankseg_med, images, tmp_path):
    result = rankseg_med("--quiet", "predict", images / "a.nii.gz", *DEMO, "-o", tmp_path)
    assert (result.code, result.err) == (0, "")
    assert "1 of 1 studies done" in result.out
    assert rankseg_med("--quiet", "--verbose", "status", tmp_path).code == 2
