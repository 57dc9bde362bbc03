"""The public CI, as far as it can be looked at without running it."""

import re
import tomllib

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from tests.conftest import REPOSITORY

CI = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
JOBS = CI["jobs"]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def made_by(job):
    """Targets of make that a job asks for."""
    return [target for step in job["steps"] for target in re.findall(r"^make (\S+)", step.get("run", ""), re.MULTILINE)]


def pythons_of(job):
    (setup,) = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
    return job.get("strategy", {}).get("matrix", {}).get("python", [setup["python-version"]])


def test_jobs_call_targets_that_exist():
    targets = set(re.findall(r"^([\w-]+):(?!=)", MAKEFILE, re.MULTILINE))
    asked = {name: made_by(job) for name, job in JOBS.items()}
    assert asked == {"lint": ["lint"], "test": ["test"], "docs": ["docs"], "dist": ["dist"]}
    assert {target for wanted in asked.values() for target in wanted} <= targets


def test_what_must_pass_here_must_pass_there():
    here = re.findall(r"^make (\S+)$", (REPOSITORY / ".ci" / "run").read_text(), re.MULTILINE)
    assert here
    assert set(here) <= {target for job in JOBS.values() for target in made_by(job)}


def test_every_python_that_the_package_supports_is_tested_and_no_other():
    supported = SpecifierSet(PROJECT["requires-python"])
    said = {line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", line)}
    by_specifier = {f"3.{minor}" for minor in range(30) if supported.contains(f"3.{minor}.0")}
    assert set(JOBS["test"]["strategy"]["matrix"]["python"]) == said == by_specifier


@pytest.mark.parametrize("name", JOBS)
def test_versions_are_text_that_yaml_did_not_shorten(name):
    """Unquoted, 3.10 would be the number 3.1."""
    for version in pythons_of(JOBS[name]):
        assert isinstance(version, str)
        assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.0")


def test_make_takes_the_python_that_was_set_up():
    for job in JOBS.values():
        assert all("PYTHON=python" in step["run"] for step in job["steps"] if "make" in step.get("run", ""))


def test_torch_is_the_build_for_cpus_that_the_dockerfile_takes():
    (index,) = re.findall(r"^ARG TORCH_INDEX=(\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert CI["env"]["PIP_EXTRA_INDEX_URL"] == index
    # A pin with another build tag, or none that this index has, would take CUDA's from PyPI.
    assert re.search(r"^torch==[\d.]+$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)


def test_it_may_read_the_repository_and_no_more():
    assert CI["permissions"] == {"contents": "read"}
