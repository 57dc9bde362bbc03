"""The experiment from files to tables, on random volumes."""

import csv
import sys

import experiment
import nibabel as nib
import numpy as np
import pytest
import semisupervised as pipeline
import semisupervised_report
from monai.transforms import RandAffined, RandCropByLabelClassesd, RandSpatialCropd, SpatialPadd
from self_training import pseudo_labelled
from semisupervised_arms import ARMS, AUGMENTATIONS, config_of
from semisupervised_data import DATA_SETS, DataSet, split_of

from rankseg_med.configuration import load_config
from rankseg_med.decode import RankSEGDecoder, ThresholdDecoder
from rankseg_med.studies import StudyError


def make_images(folder, case_ids):
    """Boxes of both labels in noise."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for case_id in case_ids:
        labels = np.zeros((24, 24, 24), np.uint8)
        labels[6:14, 6:18, 8:16], labels[14:18, 6:18, 8:16] = 1, 2
        image = (labels + rng.normal(size=labels.shape)).astype(np.float32)
        for part, array in (("images", image), ("labels", labels)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / part / f"{case_id}.nii.gz")


def test_no_patient_is_in_two_parts_and_fewer_labels_are_a_part_of_more(tmp_path):
    case_ids = [f"{patient}_R_{nodule}" for patient in "abcdefghij" for nodule in (1, 2)]
    make_images(tmp_path, case_ids)
    data_set = DataSet("lung_nodules", "always", 1, 3, 2, 2, lambda case_id: case_id[0])
    for seed in range(3):
        few, more = (split_of(data_set, tmp_path, seed, labelled) for labelled in (1, 2))
        for split in (few, more):
            parts = [{study.case_id[0] for study in getattr(split, part)} for part in vars(split)]
            assert sum(map(len, parts)) == len(set.union(*parts)) == 10
            assert [len(part) for part in parts[2:]] == [2, 3]
        assert set(few.labelled) < set(more.labelled)
        assert few == split_of(data_set, tmp_path, seed, 1)
    assert split_of(data_set, tmp_path, 0, 1) != split_of(data_set, tmp_path, 1, 1)
    with pytest.raises(ValueError, match="must be 1 to 5 patients, got 6"):
        split_of(data_set, tmp_path, 0, 6)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "folder", "patients"),
    [
        ("hippocampus", "hippocampus", (6, 114, 20, 60)),
        ("lung_nodules", "lung_nodules", (11, 212, 74, 74)),
        ("sarcoma_pet", "sarcoma_pet", (8, 24, 8, 11)),
        ("left_atrium_small", "left_atrium", (8, 56, 16, 20)),
    ],
)
def test_splits_of_real_data(shared_data, name, folder, patients):
    data_set = DATA_SETS[name]
    split = split_of(data_set, shared_data / folder, 0, data_set.labelled)
    parts = [{data_set.patient_of(study.case_id) for study in getattr(split, part)} for part in vars(split)]
    assert tuple(map(len, parts)) == patients
    assert len(set.union(*parts)) == sum(patients)


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


def write_run(work, arm, seed, dice_of):
    """As a finished run has it: two nodules of two patients, the smaller one missed where its Dice is 0."""
    folder = work / arm / str(seed) / "ab"
    for decoder in ("argmax", "tuned"):
        (folder / "scores" / decoder).mkdir(parents=True)
        with (folder / "scores" / decoder / "scores.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["case_id", "name", "dice", "hd95_mm", "assd_mm", "reference_volume_ml"])
            for (case_id, dice), volume in zip(dice_of.items(), (1.0, 5.0), strict=True):
                distances = (30.0, 10.0) if dice == 0 else (2.0, 0.5)
                writer.writerow([case_id, "nodule", dice, *distances, volume])
    (folder / "ab.json").write_text("{}")


def test_tables_by_hand(tmp_path):
    for seed, gain in ((0, 0.0), (1, 0.2)):
        write_run(tmp_path, "labels_alone", seed, {"a_R_1": 0.0, "b_R_1": 0.5})
        write_run(tmp_path, "published", seed, {"a_R_1": 0.2, "b_R_1": 0.5})
        write_run(tmp_path, "coherent", seed, {"a_R_1": 0.2 + gain, "b_R_1": 0.5 + gain})
        write_run(tmp_path, "all_labels", seed, {"a_R_1": 0.4, "b_R_1": 0.7})
    (tmp_path / "mean_teacher" / "0").mkdir(parents=True)  # not finished
    tables = semisupervised_report.report(tmp_path, lambda case_id: case_id[0])
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


def test_seeds_count_alike_whatever_their_cases():
    """Ten patients, of whom the one in the first seed weighs as much as the nine of the second."""
    of_cases = {0: {"a": 1.0}, 1: {f"b{number}": 0.0 for number in range(9)}}
    _, change, _, patients, _ = semisupervised_report.with_intervals(of_cases, str)
    low, high = map(float, patients.split(" to "))
    assert change == "+0.50"
    # Of ten draws, the first patient's share is binomial: none in 35 % of the samples, more than three in 1.3 %.
    assert (low, high) == (0, pytest.approx(3 / (3 + 7 / 9), abs=0.005))


def test_a_share_of_the_gap_is_of_the_same_seeds(tmp_path):
    for seed, gap in ((0, 0.1), (1, 0.4)):
        write_run(tmp_path, "labels_alone", seed, {"a_R_1": 0.5, "b_R_1": 0.5})
        write_run(tmp_path, "all_labels", seed, {"a_R_1": 0.5 + gap, "b_R_1": 0.5 + gap})
    write_run(tmp_path, "published", 0, {"a_R_1": 0.6, "b_R_1": 0.6})
    write_run(tmp_path, "coherent", 2, {"a_R_1": 0.6, "b_R_1": 0.6})
    write_run(tmp_path, "labels_alone", 2, {"a_R_1": 0.5, "b_R_1": 0.5})
    tables = semisupervised_report.report(tmp_path, lambda case_id: case_id[0])
    assert "| published | argmax | 1 | +10.00 | - | +10.00 to +10.00 | +10.00 | 100 % |" in tables
    assert "| coherent | argmax | 1 | +10.00 | - | +10.00 to +10.00 | +10.00 |  |" in tables


def test_runs_of_other_cases_are_not_compared(tmp_path):
    write_run(tmp_path, "labels_alone", 0, {"a_R_1": 0.1, "b_R_1": 0.5})
    write_run(tmp_path, "published", 0, {"a_R_1": 0.1, "c_R_1": 0.5})
    with pytest.raises(ValueError, match="must be scored on the same cases"):
        semisupervised_report.report(tmp_path, str)


@pytest.mark.slow
def test_from_files_to_tables_and_on_again(tmp_path, monkeypatch, capsys):
    make_images(tmp_path, [f"case_{number}" for number in range(10)])
    tiny = DataSet("hippocampus", "always", 2, 2, 5, 2)
    monkeypatch.setitem(DATA_SETS, "hippocampus", tiny)
    # Spawned processes would not know of it.
    monkeypatch.setattr(experiment, "ProcessPoolExecutor", InThisProcess)

    def run(iterations=2):
        arguments = ["hippocampus", tmp_path, tmp_path / "work", "--iterations", iterations, "--seeds", 3]
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


class InThisProcess:
    """Stands for a pool of processes."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        function(*arguments)
        return self

    def result(self):
        return None
