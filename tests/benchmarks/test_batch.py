"""The studies of benchmarks/batch.py are what they are said to be, and a small run of it finds nothing wrong."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.batch_studies import BREAKS, make_trials
from tests.voxels import voxels_of

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        values = np.random.default_rng(number).normal(100, 20, (12, 14, 13)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"image_{number}.nii.gz")
    return sorted(folder.iterdir())


def _trials(images, folder, count=400, seed=0):
    return make_trials(images, folder, count, seed)


def test_a_twentieth_is_broken_each_way_as_often(images, tmp_path):
    trials = _trials(images, tmp_path / "studies")
    assert Counter(trial.broken for trial in trials) == {None: 380, **dict.fromkeys(BREAKS, 2)}
    assert len({trial.study.case_id for trial in trials}) == 400


def test_the_seed_chooses(images, tmp_path):
    first, same, other = (
        [trial.broken for trial in _trials(images, tmp_path / name, seed=seed)]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == same
    assert first != other


def test_good_ones_are_copies(images, tmp_path):
    for place, trial in enumerate(_trials(images, tmp_path / "studies", 20)):
        if trial.broken is None:
            assert trial.study.image.read_bytes() == images[place % 3].read_bytes()


def test_broken_ones_are_broken_as_said(images, tmp_path):
    path = {trial.broken: trial.study.image for trial in _trials(images, tmp_path / "studies", 20) if trial.broken}
    with pytest.raises(EOFError):
        voxels_of(path["truncated gzip"])
    for broken in ("not a NIfTI", "empty file"):
        with pytest.raises(nib.filebasedimages.ImageFileError):
            nib.load(path[broken])
    with pytest.raises(FileNotFoundError):
        nib.load(path["dangling link"])
    assert np.isnan(nib.load(path["NaN voxel"]).get_fdata()).sum() == 1
    assert nib.load(path["2-D"]).shape == (12, 14)
    assert nib.load(path["4-D, 3 volumes"]).shape == (12, 14, 13, 3)
    assert nib.load(path["zero-size axis"]).shape == (12, 0, 13)
    assert nib.load(path["RGB"]).get_data_dtype().names == ("R", "G", "B")
    assert np.linalg.det(nib.load(path["singular affine"]).affine[:3, :3]) == 0


def test_too_few_studies(images, tmp_path):
    with pytest.raises(ValueError, match="more than 10 studies are needed"):
        _trials(images, tmp_path / "studies", 10)


@pytest.mark.slow
def test_a_small_run(images, tmp_path):
    command = [sys.executable, _ROOT / "benchmarks" / "batch.py", images[0].parent, tmp_path / "work"]
    options = ["--studies", "14", "--methods", "ours", "ours, 2 processes, killed", "--markdown"]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "wrong:" not in ended.stdout
    rows = [line.strip("| ").split(" | ") for line in ended.stdout.splitlines() if line.startswith("| ours")]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("ours", "14", "0"),
        ("ours, 2 processes, killed", "14", "0"),
    ]
