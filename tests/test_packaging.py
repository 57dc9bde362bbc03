"""What pip installs is complete and fit for PyPI: configs and weights travel inside the wheel."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import rankseg_med
from tests.conftest import REPOSITORY


def build(source: Path, output: Path, *targets: str) -> list[Path]:
    """Build distributions; those that were built."""
    wanted = [word for target in targets for word in ("-t", target)]
    subprocess.run([sys.executable, "-m", "hatchling", "build", *wanted, "-d", output], cwd=source, check=True)
    return sorted(output.iterdir())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The wheel and the sdist, as make dist builds them."""
    wheel, sdist = build(REPOSITORY, tmp_path_factory.mktemp("dist"), "wheel", "sdist")
    assert (wheel.suffix, sdist.suffix) == (".whl", ".gz")
    return wheel, sdist


def files_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_pypi_would_take_them(distributions):
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *distributions], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("PASSED") == 2


def test_the_wheel_has_what_reports_are_made_of(distributions):
    assets = REPOSITORY / "rankseg_med" / "report" / "assets"
    expected = {f"rankseg_med/report/assets/{path.name}" for path in assets.iterdir()}
    assert {Path(name).name for name in expected} >= {"report.html", "niivue.umd.js", "niivue.LICENSE"}
    assert expected <= files_in(distributions[0])


def test_a_wheel_built_from_the_sdist_lacks_nothing(distributions, tmp_path):
    wheel, sdist = distributions
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (from_sdist,) = build(source, tmp_path / "dist", "wheel")
    assert files_in(from_sdist) == files_in(wheel)


@pytest.mark.slow
def test_the_wheel_runs_the_demo_by_itself(distributions, tmp_path):
    with zipfile.ZipFile(distributions[0]) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    program = "import rankseg_med; print(rankseg_med.__file__)"
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert printed.stdout.startswith(str(tmp_path / "site"))
    command = [sys.executable, "-m", "rankseg_med", "demo", "--output", "out", "--device", "cpu"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert len(list((tmp_path / "out" / "predictions" / "dice").glob("*.nii.gz"))) == 3


def test_the_version_has_release_notes_and_is_the_one_that_is_cited():
    version = rankseg_med.__version__
    headings = re.findall(r"^## (\S+) \((.+)\)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0][0] == version
    assert re.fullmatch(r"unreleased|\d{4}-\d{2}-\d{2}", headings[0][1])
    assert yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"] == version
    assert f"Version {version}" in (REPOSITORY / "README.md").read_text()


@pytest.mark.slow
def test_the_face_of_the_package_is_whole_and_costs_nothing_before_it_is_used():
    program = (
        "import sys, rankseg_med\n"
        "assert not {'torch', 'monai', 'numpy'} & sys.modules.keys()\n"
        "assert len(rankseg_med.__all__) > 12\n"
        "for name in rankseg_med.__all__: getattr(rankseg_med, name)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
