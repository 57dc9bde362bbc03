"""The sessions of the documentation run: Python, files in YAML that begin with their name, and commands."""

import re
import shlex
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.cli.main import main
from tests.conftest import REPOSITORY


def run_session(page: str, heading: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks of one section of a page, one after the other, in the current folder."""
    text = (REPOSITORY / "docs" / page).read_text()
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", section, re.M | re.S):
        if language == "python":
            exec(compile(block, page, "exec"), {})
        elif language == "yaml":
            Path(block.splitlines()[0].removeprefix("# ")).write_text(block)
        else:
            for command in block.splitlines():
                monkeypatch.setattr(sys, "argv", shlex.split(command))
                with pytest.raises(SystemExit) as stopped:
                    main()
                assert not stopped.value.code, command


def test_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_session("networks.md", "A session", monkeypatch)
    image = nib.load("scans/a.nii.gz")
    for folder in ("dice", "argmax"):
        labels = nib.load(f"{folder}/a.nii.gz")
        assert labels.shape == image.shape
        assert set(np.unique(np.asarray(labels.dataobj))) <= {0, 1, 2}
