import json
import shutil

import numpy as np
import pytest
import torch

from rankseg_med.configuration.config import load_config
from rankseg_med.studies import Study, StudyError
from rankseg_med.training.record import TrainingRecord


@pytest.fixture
def studies(tmp_path):
    """The record looks at files, never into them."""
    found = []
    for index in range(5):
        study = Study(f"case_{index}", tmp_path / f"i{index}.nii.gz", tmp_path / f"l{index}.nii.gz")
        study.image.write_bytes(bytes([index]) * 1000)
        study.label.write_bytes(bytes([index]) * 10)
        found.append(study)
    return found


def record(studies, *, training=(0, 1), unlabelled=(2,), validation=(3,), **changed):
    calibration = {"_target_": "rankseg_med.calibration.Temperature", "num_classes": "@num_classes"}
    config = load_config("train", "bcp_hippocampus", device="cpu", changes={"teacher::calibration": calibration})
    config.update(changed.pop("config", {}))
    parts = [[studies[index] for index in part] for part in (training, unlabelled, validation)]
    return TrainingRecord.of(config.get(), *parts, **{"seed": 0, "processes": 1, **changed})


def test_a_record_is_the_same_after_writing_and_reading(studies, tmp_path):
    written = record(studies, choice={"fold": 0, "labelled": None}).in_session("cpu", 20, 0)
    written.write(tmp_path / "training.json")
    read = TrainingRecord.read(tmp_path / "training.json")
    assert read == written
    assert read.differences(record(studies)) == []
    (session,) = json.loads((tmp_path / "training.json").read_text())["sessions"]
    assert (session["epochs"], session["iteration"], session["device"]) == (20, 0, "cpu")
    assert session["versions"]["torch"] == torch.__version__
    assert read.training[0].files == (str(studies[0].image), str(studies[0].label))


@pytest.mark.parametrize(
    ("changed", "differences"),
    [
        ({"seed": 4}, ["seed: was 0, is now 4"]),
        ({"processes": 2}, ["processes: was 1, is now 2"]),
        ({"config": {"learning_rate": 0.1}}, ["learning_rate: was 0.002, is now 0.1"]),
        ({"config": {"optimizer::weight_decay": 0.5}}, ["optimizer::weight_decay: was 0.0001, is now 0.5"]),
        (
            {"config": {"augmentation::transforms::2::prob": 0.1, "roi_size": [1, 2, 3]}},
            [
                "augmentation::transforms::2::prob: was 0.5, is now 0.1",
                "roi_size: was [40, 56, 40], is now [1, 2, 3]",
            ],
        ),
        (
            {"config": {"teacher::calibration": None}},
            [
                "teacher::calibration::_target_: was rankseg_med.calibration.Temperature, is now (absent)",
                "teacher::calibration::num_classes: was @num_classes, is now (absent)",
                "teacher::calibration: was (absent), is now None",
            ],
        ),
        ({"training": (0,)}, ["training studies no longer there: case_1"]),
        (
            {"training": (3, 0), "validation": (1,), "unlabelled": (2, 4)},
            [
                "training studies no longer there: case_1",
                "training studies that are new: case_3",
                "unlabelled studies that are new: case_4",
                "validation studies no longer there: case_3",
                "validation studies that are new: case_1",
                "validation studies that were trained on: case_1",
            ],
        ),
        (
            {"validation": (3, 2)},
            ["validation studies that are new: case_2", "validation studies that were trained on: case_2"],
        ),
        ({"training": (1, 0)}, ["training studies are in another order"]),
    ],
)
def test_what_makes_another_training_is_named(studies, changed, differences):
    found = record(studies).differences(record(studies, **changed))
    assert sorted(found) == sorted(differences)


def test_where_and_how_long_it_runs_may_differ(studies):
    changed = {
        **{"device": torch.device("cuda"), "num_workers": 3, "cache_rate": 0.1, "epochs": 90, "validate_every": 1},
        **{"extends": "elsewhere.yaml"},
    }
    assert record(studies).differences(record(studies, config=changed)) == []


def test_what_the_choice_was_is_said_only_if_it_matters(studies):
    by_number = record(studies, choice={"fold": 0, "labelled": "2", "manifest": "a.json"})
    by_name = {"fold": 0, "labelled": "case_0,case_1", "manifest": "b.json"}
    assert by_number.differences(record(studies, choice=by_name)) == []
    assert by_number.differences(record(studies, choice={**by_name, "fold": 1}, validation=())) == [
        "--fold: was 0, is now 1",
        "--labelled: was 2, is now case_0,case_1",
        "--manifest: was a.json, is now b.json",
        "validation studies no longer there: case_3",
    ]


def test_other_files_of_the_same_ids_are_named(studies, tmp_path):
    before = record(studies)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = [Study(study.case_id, *(elsewhere / path.name for path in (study.image, study.label))) for study in studies]
    for study, copy in zip(studies, moved, strict=True):
        shutil.copy(study.image, copy.image)
        shutil.copy(study.label, copy.label)
    assert before.differences(record(moved)) == []
    moved[1].image.write_bytes(b"another")
    moved[3].label.write_bytes(b"another")
    files = [", ".join(map(str, (study.image, study.label))) for study in (moved[1], moved[3])]
    assert before.differences(record(moved)) == [
        f"training study case_1: has changed, or is another one: {files[0]}",
        f"validation study case_3: has changed, or is another one: {files[1]}",
    ]


def test_labels_of_unlabelled_studies_do_not_count(studies):
    without = [Study(study.case_id, study.image) for study in studies]
    before = record(without, training=(), validation=())
    studies[2].label.unlink()
    assert before.differences(record(without, training=(), validation=())) == []


def test_a_file_that_is_not_there_is_named(studies):
    studies[1].label.unlink()
    with pytest.raises(StudyError, match=r"case_1: .*l1\.nii\.gz: cannot be read \(No such file"):
        record(studies)


def test_objects_in_a_config_are_told_apart_without_their_address(studies):
    class Loss:
        pass

    def with_loss(loss):
        return record(studies, config={"loss": loss})

    assert with_loss(Loss()).differences(with_loss(Loss())) == []
    assert with_loss(np.float32(2)).differences(with_loss(np.float32(3))) == ["loss: was 2.0, is now 3.0"]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"config": {}}', "\0"])
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "training.json"
    path.write_text(content)
    with pytest.raises(StudyError, match=r"training\.json: is not the record of a training"):
        TrainingRecord.read(path)
