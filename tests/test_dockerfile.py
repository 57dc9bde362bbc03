"""The Dockerfile, as far as it can be looked at without building it."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import rankseg_med
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "Dockerfile").read_text()
INSTRUCTIONS = [
    shlex.split(line)
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line.strip()
]
INSTALLS = [words for words in INSTRUCTIONS if words[:3] == ["RUN", "pip", "install"]]
COPIED = [
    source
    for words in INSTRUCTIONS
    if words[0] == "COPY" and not words[1].startswith("--from")
    for source in words[1:-1]
]


def test_all_that_is_copied_is_there_and_sent_to_the_build():
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(COPIED) == kept
    assert all((REPOSITORY / source).exists() for source in COPIED)


def test_what_the_package_is_built_from_is_copied():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {*wheel["packages"], *wheel["force-include"], "pyproject.toml"}
    assert all(any(Path(path).is_relative_to(copied) for copied in COPIED) for path in needed)


def test_everything_is_installed_from_the_lock_and_leaves_no_cache():
    assert len(INSTALLS) == 2
    for words in INSTALLS:
        assert words[words.index("--constraint") + 1] == "constraints.txt"
        assert "--no-cache-dir" in words


@pytest.mark.parametrize("build", ["cpu", "cu126", "cu130"])
def test_the_pinned_torch_is_what_any_index_is_asked_for(build):
    """The line names no version of its own, and the pin has no build tag, so that every build of it fits."""
    torch, package = INSTALLS
    assert torch[torch.index("--index-url") + 1] == "$TORCH_INDEX"
    assert (torch[-1], "--no-deps" in torch) == ("torch", True)
    assert "--index-url" not in package
    (pin,) = re.findall(r"^torch==(.+)$", (REPOSITORY / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert SpecifierSet(f"=={pin}").contains(f"{pin}+{build}")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (wanted,) = [line.removeprefix("torch") for line in project["dependencies"] if re.match(r"torch\W", line)]
    assert SpecifierSet(wanted).contains(f"{pin}+{build}")


def test_the_image_runs_the_program_as_nobody_special():
    by_name = {words[0]: words[1:] for words in INSTRUCTIONS}  # the last of each, which is the final stage's
    assert by_name["ENTRYPOINT"] == ["[rankseg-med]"]
    assert by_name["USER"] == ["1000:1000"]
    assert "ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu" in TEXT


def test_labels_say_what_the_package_says():
    labels = dict(entry.split("=", 1) for words in INSTRUCTIONS if words[0] == "LABEL" for entry in words[1:])
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    prefix = "org.opencontainers.image."
    assert labels[prefix + "title"] == project["name"]
    assert labels[prefix + "licenses"] == project["license"]
    assert labels[prefix + "version"] == rankseg_med.__version__
    python = re.search(r"python:([\d.]+)", labels[prefix + "base.name"])[1]
    assert SpecifierSet(project["requires-python"]).contains(python)
    assert {words[1] for words in INSTRUCTIONS if words[0] == "FROM"} == {f"python:{python}-slim"}
