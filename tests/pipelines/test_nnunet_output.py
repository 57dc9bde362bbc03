import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.nnunet_output import GRIDS, write_output, write_phantoms
from tests.voxels import voxels_of

SCRIPT = Path(__file__).parents[2] / "pipelines" / "nnunet_output.py"


@pytest.fixture
def run(monkeypatch):
    """Run the script in this process; returns its exit code."""

    def run_script(*arguments) -> int:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return int(stopped.value.code)

    return run_script


def dice(scores: Path) -> dict[tuple[str, str], float]:
    with scores.open(newline="") as stream:
        return {(row["case_id"], row["name"]): float(row["dice"]) for row in csv.DictReader(stream)}


@pytest.mark.parametrize("regions", [False, True])
def test_decodes_scores_and_compares(run, capsys, tmp_path, regions):
    write_phantoms(tmp_path)
    write_output(tmp_path / "predictions", tmp_path, regions=regions)
    assert run(tmp_path / "predictions", tmp_path / "work", "--references", tmp_path / "labels") == 0
    assert "RankSEG Dice" in capsys.readouterr().out
    organ = (1, 2) if regions else (1,)
    for decoder in ("argmax", "dice"):
        scores = dice(tmp_path / "work" / f"scores_{decoder}" / "scores.csv")
        assert len(scores) == 2 * len(GRIDS)
        for case in GRIDS:
            found, truth = (
                np.isin(voxels_of(folder / f"{case}.nii.gz"), organ)
                for folder in (tmp_path / "work" / decoder, tmp_path / "labels")
            )
            expected = 2 * (found & truth).sum() / (found.sum() + truth.sum())
            assert scores[case, "organ"] == pytest.approx(expected)
    for case in GRIDS:
        argmax, nnunets = (
            voxels_of(folder / f"{case}.nii.gz") for folder in (tmp_path / "work" / "argmax", tmp_path / "predictions")
        )
        np.testing.assert_array_equal(argmax, nnunets)


def test_a_case_that_fails_is_named(run, capsys, tmp_path):
    write_phantoms(tmp_path)
    write_output(tmp_path / "predictions", tmp_path)
    (tmp_path / "predictions" / "turned.npz").write_bytes(b"")
    assert run(tmp_path / "predictions", tmp_path / "work") == 1
    assert "dice: turned: failed" in capsys.readouterr().out
    assert (tmp_path / "work" / "dice" / "oblique.nii.gz").is_file()
