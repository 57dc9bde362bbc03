"""The pipeline from files to tables, on random volumes."""

import json
import sys

import nibabel as nib
import numpy as np
import pytest

from pipelines import hippocampus_semisupervised as pipeline


@pytest.mark.real_data
def test_plan_keeps_test_volumes_away_from_training(shared_data):
    data = shared_data / "hippocampus"
    plan = pipeline.make_plan(data, labelled=6, iterations=100, test=60, validation=20)
    parts = [{study.case_id for study in part} for part in (plan.pool, plan.validation, plan.test)]
    assert [len(part) for part in parts] == [120, 20, 60]
    assert len(set.union(*parts)) == 200
    assert plan == pipeline.make_plan(data, labelled=6, iterations=100, test=60, validation=20)


def test_all_arms_have_equally_many_iterations():
    for arm in pipeline.ARMS.values():
        config = pipeline.config_of(arm, 1000)
        assert config["epochs"] * config["iterations_per_epoch"] == 1000
        assert pipeline.config_of(arm, 7)["epochs"] == 1


def scores_of(dice):
    metrics = {"dice": dice, "jaccard": dice, "hd95_mm": 10 * (1 - dice), "assd_mm": 1 - dice}
    return {decoder: {"x": metrics, "y": metrics} for decoder in pipeline.DECODERS}


def test_report_by_hand(tmp_path):
    dice = {"supervised_few": (0.5, 0.6), "bcp_rankseg": (0.6, 0.7), "supervised_all": (0.75, 0.75)}
    for arm, values in dice.items():
        for seed, value in enumerate(values):
            path = tmp_path / arm / f"seed_{seed}" / "scores.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(scores_of(value)))
    tables = pipeline.report(tmp_path, list(dice), [0, 1], "heading")
    assert "| supervised_few | argmax | 55.00 ± 7.07 | 55.00 ± 7.07 | 4.50 ± 0.71 | 0.45 ± 0.07 |" in tables
    # Of a gap of 20 points, 10 are closed; both cases change alike, so the interval has no width.
    assert "| supervised_few | bcp_rankseg | +10.00 (+10.00 to +10.00) |" in tables
    assert "-1.00 (-1.00 to -1.00) | -0.10 (-0.10 to -0.10) | 50 % |" in tables
    assert "| supervised_few | supervised_all | +20.00 (+20.00 to +20.00) |" in tables


@pytest.mark.slow
def test_from_files_to_tables_and_on_again(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for index in range(7):
        labels = np.zeros((24, 24, 24), np.uint8)
        labels[6:14, 6:18, 8:16], labels[14:18, 6:18, 8:16] = 1, 2
        image = (labels + rng.normal(size=labels.shape)).astype(np.float32)
        for part, array in (("images", image), ("labels", labels)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / part / f"case_{index}.nii.gz")

    def run(iterations=2):
        options = ["--labelled", "2", "--test", "2", "--validation", "1", "--seeds", "0", "--jobs", "2"]
        arguments = [tmp_path, tmp_path / "work", "--iterations", iterations, *options]
        monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
        pipeline.main()
        return capsys.readouterr().out

    tables = run()
    assert tables == (tmp_path / "work" / "results.md").read_text() + "\n"
    for arm in pipeline.ARMS:
        assert f"| {arm} | argmax |" in tables
    checkpoints = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("last.pt")}
    assert len(checkpoints) == 5
    next((tmp_path / "work").rglob("scores.json")).unlink()
    assert run() == tables
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("last.pt")} == checkpoints
    with pytest.raises(SystemExit, match="runs of another plan are here"):
        run(iterations=3)
