"""The experiment from files to tables, on random volumes."""

import sys

import pytest
import semisupervised as pipeline
from experiment_data import DATA_SETS, ExperimentData
from monai.transforms import RandAffined, RandCropByLabelClassesd, RandSpatialCropd, SpatialPadd
from self_training import pseudo_labelled
from semisupervised_arms import ARMS, AUGMENTATIONS, config_of
from semisupervised_report import report

from rankseg_med.configuration import load_config
from rankseg_med.decode import RankSEGDecoder, ThresholdDecoder
from rankseg_med.studies import StudyError
from tests.pipelines.made_data import make_images, write_run


def test_all_arms_have_equally_many_iterations():
    for arm in ARMS:
        for augmentation in AUGMENTATIONS:
            config = config_of(arm, "hippocampus", "always", 1000, augmentation)
            assert config["epochs"] * config["iterations_per_epoch"] == 1000
        assert config_of(arm, "hippocampus", "always", 7)["epochs"] == 1


def test_pseudo_labels_of_the_arms():
    found = {}
    for name, arm in ARMS.items():
        config = config_of(name, "lung_nodules", "always", 1000)
        assert ("method" in config) == arm.learns_unlabelled
        if arm.learns_unlabelled and (labeller := config.get_parsed_content("pseudo_labeller")):
            calibration = config.get_parsed_content("teacher").calibration
            kind = None if calibration is None else type(calibration).__name__
            decoder = labeller.decoder
            rule = decoder.coherence if isinstance(decoder, RankSEGDecoder) else decoder
            found[name] = (rule, labeller.min_confidence, kind)
    assert found == {
        "copy_paste_labelled": (ThresholdDecoder(0.5), 0.0, None),
        "published": (ThresholdDecoder(0.5), 0.0, None),
        "rankseg": (0.0, 0.0, None),
        "coherent": (1.0, 0.0, None),
        "rankseg_isotonic": (0.0, 0.0, "IsotonicCalibration"),
        "coherent_isotonic": (1.0, 0.0, "IsotonicCalibration"),
        "rankseg_temperature": (0.0, 0.0, "Temperature"),
        "published_confident": (ThresholdDecoder(0.5), 0.8, None),
        "rankseg_confident": (0.0, 0.8, None),
        "coherent_confident": (1.0, 0.8, None),
    }


def test_copy_paste_of_labelled_images_alone_never_labels():
    config = config_of("copy_paste_labelled", "lung_nodules", "always", 1000)
    assert config.get_parsed_content("method").pretraining_iterations == 1000


def test_decoders_of_self_training():
    decoders = {name: arm.self_training("always") for name, arm in ARMS.items() if arm.self_training is not None}
    for name in ("self_training_rankseg", "self_training_coherent"):
        assert decoders.pop(name)["coherence"] == ("coherent" in name)
    assert decoders == {"self_training": "threshold", "self_training_tuned": "tuned"}


def test_a_teacher_has_finished(tmp_path):
    with pytest.raises(StudyError, match="must be a finished run, since it teaches"):
        pseudo_labelled(tmp_path / "labels_alone" / "0", "lung_nodules", "threshold", [], tmp_path / "pseudo")


def test_mean_teacher_is_the_shipped_one():
    config = config_of("mean_teacher", "left_atrium", "always", 1000)
    shipped = load_config("train", ["left_atrium", "mean_teacher"], device="cpu")
    assert all(config[key] == shipped[key] for key in ("teacher", "pseudo_labeller", "method"))


def test_augmentation_by_crops_alone():
    config = config_of("published", "hippocampus", "always", 1000, "crops")
    kinds = [[type(t) for t in config.get_parsed_content(f"{s}augmentation").transforms] for s in ("", "unlabelled_")]
    assert kinds == [[SpatialPadd, RandCropByLabelClassesd], [SpatialPadd, RandSpatialCropd]]
    shipped = config_of("published", "hippocampus", "always", 1000).get_parsed_content("augmentation")
    assert RandAffined in map(type, shipped.transforms)


def test_tables_by_hand(tmp_path):
    for seed, gain in ((0, 0.0), (1, 0.2)):
        write_run(tmp_path, "labels_alone", seed, {"a_R_1": 0.0, "b_R_1": 0.5})
        write_run(tmp_path, "published", seed, {"a_R_1": 0.2, "b_R_1": 0.5})
        write_run(tmp_path, "coherent", seed, {"a_R_1": 0.2 + gain, "b_R_1": 0.5 + gain})
        write_run(tmp_path, "all_labels", seed, {"a_R_1": 0.4, "b_R_1": 0.7})
    (tmp_path / "mean_teacher" / "0").mkdir(parents=True)  # not finished
    tables = report(tmp_path, lambda case_id: case_id[0])
    assert "| HD95 mm | ASSD mm |" in tables
    # Jaccard of a Dice of a half is a third.
    assert (
        "| labels\\_alone | argmax | 2 | 25.00 ± 0.00 | 16.67 ± 0.00 | 16.00 ± 0.00 | 5.25 ± 0.00 | 50.00 ± 0.00 | "
        "0.00 ± 0.00 |" in tables
    )
    # Over seeds 0 and 20 points: 10, give or take 12.706 standard errors of 10. Of a gap of 30 points 20 are closed.
    assert "| coherent | argmax | 2 | +10.00 | -117.06 to +137.06 | +10.00 to +10.00 | +0.00 +20.00 |\n" in tables
    assert "| coherent | argmax | 2 | +20.00 |" in tables
    assert "| +10.00 +30.00 | 67 % |" in tables
    assert "mean" not in "".join(line for line in tables.splitlines() if line.startswith("| mean"))


def test_a_share_of_the_gap_is_of_the_same_seeds(tmp_path):
    for seed, gap in ((0, 0.1), (1, 0.4)):
        write_run(tmp_path, "labels_alone", seed, {"a_R_1": 0.5, "b_R_1": 0.5})
        write_run(tmp_path, "all_labels", seed, {"a_R_1": 0.5 + gap, "b_R_1": 0.5 + gap})
    write_run(tmp_path, "published", 0, {"a_R_1": 0.6, "b_R_1": 0.6})
    write_run(tmp_path, "coherent", 2, {"a_R_1": 0.6, "b_R_1": 0.6})
    write_run(tmp_path, "labels_alone", 2, {"a_R_1": 0.5, "b_R_1": 0.5})
    tables = report(tmp_path, lambda case_id: case_id[0])
    assert "| published | argmax | 1 | +10.00 | - | +10.00 to +10.00 | +10.00 | 100 % |" in tables
    assert "| coherent | argmax | 1 | +10.00 | - | +10.00 to +10.00 | +10.00 |  |" in tables


@pytest.mark.slow
def test_from_files_to_tables_and_on_again(tmp_path, monkeypatch, capsys):
    make_images(tmp_path, [f"case_{number}" for number in range(10)])
    tiny = ExperimentData("hippocampus", "always", 2, 2, 5, 2)
    monkeypatch.setitem(DATA_SETS, "hippocampus", tiny)

    def run(iterations=2):
        arguments = ["hippocampus", tmp_path, tmp_path / "work", "--iterations", iterations, "--seeds", 3, "--jobs", 1]
        monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
        pipeline.main()
        return capsys.readouterr().out

    tables = run()
    for arm in ARMS:
        assert f"{arm.replace('_', chr(92) + '_')} | tuned |" in tables
    checkpoints = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("last.pt")}
    assert len(checkpoints) == len(ARMS)
    run()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("last.pt")} == checkpoints
    with pytest.raises(SystemExit, match="runs of another experiment are here"):
        run(iterations=3)
