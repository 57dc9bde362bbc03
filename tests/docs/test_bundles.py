"""The sessions of docs/bundles.md run as they stand there."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from rankseg_med.demo import make_phantom, write_phantom
from tests import zoo
from tests.conftest import REPOSITORY

THEIRS, _, OURS = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs" / "bundles.md").read_text(), re.DOTALL)


def run(session, folder):
    """Run a session's commands in a folder, by this Python and of this checkout."""
    programs = {"rankseg-med": f"{sys.executable} -m rankseg_med", "python": sys.executable}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for line in session.splitlines():
        program, arguments = line.split(maxsplit=1)
        subprocess.run(f"{programs[program]} {arguments}", shell=True, check=True, cwd=folder, env=environment)


@pytest.mark.slow
def test_a_bundle_of_somebody_elses(tmp_path):
    zoo.spleen(tmp_path / "spleen_ct_segmentation")
    zoo.write_images(tmp_path / "images", (20, 18, 10), (2.0, 2.0, 3.0))
    run(THEIRS, tmp_path)
    assert (tmp_path / "predicted" / "a.nii.gz").is_file()
    assert (tmp_path / "by_argmax" / "a.nii.gz").is_file()


@pytest.mark.skipif(find_spec("fire") is None, reason="needs fire: pip install 'rankseg_med[bundle]'")
@pytest.mark.slow
def test_this_repository_as_a_bundle(tmp_path):
    for seed, name in enumerate("abc"):
        phantom = make_phantom(seed, shape=(32, 32, 24), spacing_mm=(9.0, 9.0, 10.0))
        write_phantom(phantom, *(tmp_path / folder / f"{name}.nii.gz" for folder in ("images", "labels")))
    for folder in ("configs", "models"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    run(OURS, tmp_path)
    found = [tmp_path / "predicted" / "a.nii.gz", tmp_path / "scored" / "metrics.csv", tmp_path / "trained" / "last.pt"]
    assert all(path.is_file() for path in found)
