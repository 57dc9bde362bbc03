"""What pip installs is complete: configs and weights travel inside the wheel."""

import os
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_the_wheel_predicts_by_itself(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=REPOSITORY, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import rankseg_med, sys\n"
        "from pathlib import Path\n"
        "from rankseg_med.networks import shipped_checkpoint\n"
        "from rankseg_med.configuration.config import load_config\n"
        "from rankseg_med.workflows.predict import PredictJob\n"
        "PredictJob(load_config('inference', 'demo'), [shipped_checkpoint('demo')], Path('out')).build()\n"
        "print(rankseg_med.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert printed.stdout.startswith(str(tmp_path / "site"))


def test_the_face_of_the_package_is_whole_and_costs_nothing_before_it_is_used():
    program = (
        "import sys, rankseg_med\n"
        "assert not {'torch', 'monai', 'numpy'} & sys.modules.keys()\n"
        "assert len(rankseg_med.__all__) > 12\n"
        "for name in rankseg_med.__all__: getattr(rankseg_med, name)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
