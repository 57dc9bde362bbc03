"""The sessions of docs/nnunet.md run, on tiny models."""

import re
import shlex

import nibabel as nib
import numpy as np
import pytest

from tests.cli.conftest import rankseg_med  # noqa: F401 - the fixture
from tests.conftest import REPOSITORY
from tests.nnunet.given import dataset_of, plans_of, write_image, write_model

pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (extra nnunet)")

_PAGE = (REPOSITORY / "docs" / "nnunet.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


def test_sessions(rankseg_med, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "imagesTs" / "case_0000.nii.gz", shape=(20, 18, 12))
    write_model(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres", plans_of(), dataset_of())
    write_model(tmp_path / "organs", plans_of(), dataset_of())
    write_model(tmp_path / "vessels", plans_of(), dataset_of({"background": 0, "vessel": 1}), seed=3)
    (tmp_path / "labels.yaml").write_text(blocks("yaml")[0])
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        program, *arguments = shlex.split(command)
        result = rankseg_med(*arguments)
        assert (program, result.code) == ("rankseg-med", 0), result.err
    said: dict = {}
    exec(blocks("python")[0], said)
    np.testing.assert_array_equal(
        said["decoded"].label_map.numpy(), np.asarray(nib.load(tmp_path / "labels" / "case.nii.gz").dataobj)
    )
    merged = np.unique(np.asarray(nib.load(tmp_path / "merged" / "case.nii.gz").dataobj))
    assert {0} < set(merged.tolist()) <= {0, 1, 3, 7}
