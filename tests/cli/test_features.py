"""The features command, on a run that was laid out by hand."""

import csv

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from rankseg_med.configuration import load_config
from rankseg_med.studies import Study
from rankseg_med.training.record import TrainingRecord


@pytest.fixture
def run(tmp_path):
    """Folder of a run on 3 labelled and 2 unlabelled images of noise, and its config."""
    rng = np.random.default_rng(0)
    studies = []
    for number in range(5):
        path = tmp_path / f"case_{number}.nii.gz"
        nib.save(nib.Nifti1Image(rng.normal(size=(12, 12, 12)).astype(np.float32), np.eye(4)), path)
        studies.append(Study(f"case_{number}", path, path if number < 3 else None))
    overlay = {
        "extends": "bcp_hippocampus",
        **{"roi_size": [12, 12, 12], "network_def::channels": [4, 8], "network_def::strides": [2]},
        "teacher::calibration": None,
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(overlay))
    settings = load_config("train", tmp_path / "tiny.yaml", device="cpu")
    torch.manual_seed(0)
    folder = tmp_path / "run"
    folder.mkdir()
    torch.save({"network": settings.get_parsed_content("network").state_dict()}, folder / "last.pt")
    TrainingRecord.of(settings.get(), studies[:3], studies[3:], [], seed=0, processes=1).write(folder / "training.json")
    return folder


def arguments(run, output):
    return ["features", run, "--config", run.parent / "tiny.yaml", "--device", "cpu", "-o", output]


def test_a_figure_and_its_numbers(rankseg_med, run, tmp_path):
    result = rankseg_med(*arguments(run, tmp_path / "out" / "features.png"))
    assert result.code == 0, result.err
    assert "anterior, posterior in" in result.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"features.png", "features.csv"}
    with (tmp_path / "out" / "features.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {(row["structure"], row["group"], row["case_id"]) for row in rows}
    groups = {f"case_{number}": "labelled" if number < 3 else "unlabelled" for number in range(5)}
    assert found == {(name, group, case) for name in ("anterior", "posterior") for case, group in groups.items()}
    for name in ("anterior", "posterior"):
        values = [float(row["first_component"]) for row in rows if row["structure"] == name]
        assert sum(values) == pytest.approx(0, abs=1e-9)
        assert np.ptp(values) > 0


def test_a_study_that_cannot_be_read_stops_no_other(rankseg_med, run, tmp_path):
    (tmp_path / "case_0.nii.gz").write_bytes(b"no image")
    result = rankseg_med(*arguments(run, tmp_path / "out" / "features.pdf"))
    assert result.code == 1
    assert "1 studies could not be used: case_0" in result.out
    assert len((tmp_path / "out" / "features.csv").read_text().splitlines()) == 1 + 2 * 4


def test_what_is_no_run_is_said_to_be_none(rankseg_med, run, tmp_path):
    result = rankseg_med(*arguments(run, tmp_path / "features.txt"))
    assert result.code == 2
    assert "must be named *.png or *.pdf" in result.err
    (run / "training.json").unlink()
    result = rankseg_med(*arguments(run, tmp_path / "features.png"))
    assert result.code != 0
    assert "name the output folder of a training" in result.err
    assert not (tmp_path / "features.csv").exists()
