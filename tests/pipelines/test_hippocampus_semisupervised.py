"""The pipeline from files to tables, on random volumes."""

import json
import math
import sys
from pathlib import Path

import hippocampus_scores
import hippocampus_semisupervised as pipeline
import nibabel as nib
import numpy as np
import pytest
import torch
from hippocampus_arms import ARMS, AUGMENTATIONS, config_of
from monai.data import MetaTensor
from monai.transforms import RandAffined, RandCropByLabelClassesd, RandSpatialCropd, SpatialPadd
from pseudo_label_quality import LABELLERS, pseudo_label_quality

from rankseg_med.studies import Study


@pytest.mark.real_data
def test_plan_keeps_test_volumes_away_from_training(shared_data):
    data = shared_data / "hippocampus"
    plan = pipeline.make_plan(data, labelled=6, iterations=100, test=60, validation=20)
    parts = [{study.case_id for study in part} for part in (plan.pool, plan.validation, plan.test)]
    assert [len(part) for part in parts] == [120, 20, 60]
    assert len(set.union(*parts)) == 200
    assert plan == pipeline.make_plan(data, labelled=6, iterations=100, test=60, validation=20)


def test_all_arms_have_equally_many_iterations():
    for arm in ARMS.values():
        for augmentation in AUGMENTATIONS:
            config = config_of(arm, 1000, augmentation)
            assert config["epochs"] * config["iterations_per_epoch"] == 1000
        assert config_of(arm, 7)["epochs"] == 1


def test_labels_of_the_copy_paste_arms():
    found = {}
    for name, arm in ARMS.items():
        if arm.config == "bcp_hippocampus":
            config = config_of(arm, 1000)
            labeller, calibration = config["pseudo_labeller"], config["teacher"]["calibration"]
            kind = calibration and calibration["_target_"].rpartition(".")[2]
            found[name] = (labeller["decoder"], labeller["min_confidence"], kind)
    assert found == {
        "bcp_published": ("threshold", 0.0, None),
        "bcp_rankseg": ("rankseg", 0.0, None),
        "bcp_published_confident": ("threshold", 0.8, None),
        "bcp_rankseg_confident": ("rankseg", 0.8, None),
        "bcp_published_calibrated": ("threshold", 0.0, "Temperature"),
        "bcp_rankseg_calibrated": ("rankseg", 0.0, "Temperature"),
        "bcp_rankseg_isotonic": ("rankseg", 0.0, "IsotonicCalibration"),
    }


def test_augmentation_by_crops_alone():
    config = config_of(ARMS["bcp_rankseg"], 1000, "crops")
    kinds = [[type(t) for t in config.get_parsed_content(f"{s}augmentation").transforms] for s in ("", "unlabelled_")]
    assert kinds == [[SpatialPadd, RandCropByLabelClassesd], [SpatialPadd, RandSpatialCropd]]
    shipped = config_of(ARMS["bcp_rankseg"], 1000).get_parsed_content("augmentation")
    assert RandAffined in map(type, shipped.transforms)


class ConfigOfOneVolume:
    """Stands for loading and a network: the image holds logits already."""

    def __init__(self, logits, truth):
        self.content = {
            "preprocessing": lambda item: {"image": MetaTensor(logits), "label": MetaTensor(truth)},
            "inferer": lambda image, network: network(image),
        }

    def get_parsed_content(self, name):
        return self.content[name]


def test_quality_of_pseudo_labels_by_hand(tmp_path):
    """A line of 20 voxels: 4 are anterior, 3 of them found and 1 too many; 5 posterior, all found."""
    probabilities = torch.zeros(3, 20, 1, 1)
    probabilities[0] = 1
    probabilities[:, 0:4] = torch.tensor([0.1, 0.9, 0.0])[:, None, None, None]
    probabilities[:, 4:9] = torch.tensor([0.2, 0.0, 0.8])[:, None, None, None]
    truth = torch.zeros(1, 20, 1, 1)
    truth[0, 1:4], truth[0, 4:9] = 1, 2
    truth[0, 15] = 1
    config = ConfigOfOneVolume(probabilities.log().clamp(min=-30), truth)
    qualities = pseudo_label_quality(config, torch.nn.Identity(), [Study("x", Path("x.nii.gz"))])
    assert set(qualities) == set(LABELLERS)
    for quality in qualities.values():  # with voxels this sure, all three label the same
        # Anterior: 2 * 3 / (4 + 4); posterior: 1.
        assert quality["dice"] == pytest.approx((0.75 + 1) / 2)
        assert quality["volume_ratio"] == pytest.approx((4 / 4 + 5 / 5) / 2)
        assert quality["probability_ratio"] == pytest.approx((4 * 0.9 / 4 + 5 * 0.8 / 5) / 2, abs=1e-5)
        assert quality["expected_dice"] == pytest.approx(
            sum(expected_dice_of_all(p, n) for p, n in ((0.9, 4), (0.8, 5))) / 2, abs=1e-4
        )


def expected_dice_of_all(p, n):
    """Of labelling all n voxels, the only ones that may be foreground, each with probability p: over a binomial."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) * 2 * k / (k + n) for k in range(n + 1))


def scores_of(dice):
    metrics = {"dice": dice, "jaccard": dice, "hd95_mm": 10 * (1 - dice), "assd_mm": 1 - dice}
    return {decoder: {"x": metrics, "y": metrics} for decoder in hippocampus_scores.DECODERS}


def test_report_by_hand(tmp_path):
    dice = {"supervised_few": (0.5, 0.6), "bcp_rankseg": (0.6, 0.7), "supervised_all": (0.75, 0.75)}
    for arm, values in dice.items():
        for seed, value in enumerate(values):
            path = tmp_path / arm / f"seed_{seed}" / "scores.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(scores_of(value)))
    for seed, value in enumerate((0.6, 0.8)):
        quality = {"dice": value, "expected_dice": 0.9, "volume_ratio": 1.1, "probability_ratio": 1.2}
        path = tmp_path / "bcp_rankseg" / f"seed_{seed}" / "pseudo_labels.json"
        path.write_text(json.dumps({"500": dict.fromkeys(LABELLERS, quality)}))
    tables = hippocampus_scores.report(tmp_path, list(dice), [0, 1], "heading")
    assert "| bcp_rankseg | 500 | threshold | 70.00 | 90.00 | 1.100 | 1.200 |" in tables
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
    for arm in ARMS:
        assert f"| {arm} | argmax |" in tables
    checkpoints = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("last.pt")}
    assert len(checkpoints) == len(ARMS)
    next((tmp_path / "work").rglob("scores.json")).unlink()
    assert run() == tables
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("last.pt")} == checkpoints
    with pytest.raises(SystemExit, match="runs of another plan are here"):
        run(iterations=3)
