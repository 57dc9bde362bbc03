import csv
import threading
from dataclasses import replace
from threading import Event

import nibabel as nib
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rankseg_med.calibration import IsotonicCalibration, Temperature
from rankseg_med.configuration import ConfigError
from rankseg_med.configuration.config import load_config
from rankseg_med.errors import InputError
from rankseg_med.studies import Study, StudyError
from rankseg_med.training.record import TrainingRecord
from rankseg_med.training.training import BEST, HISTORY, LAST, RECORD, split_studies, train, unlabelled_studies


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Bright balls in noise: learnable in seconds."""
    folder = tmp_path_factory.mktemp("studies")
    rng = np.random.default_rng(0)
    found = []
    for index in range(5):
        centre = rng.uniform(6, 10, 3)
        distance = np.linalg.norm(np.indices((16, 16, 16)).T - centre, axis=-1).T
        labels = (distance < 4).astype(np.uint8) + (distance < 2)
        image = rng.normal(scale=0.3, size=labels.shape) + labels
        study = Study(f"ball_{index}", folder / f"i{index}.nii.gz", folder / f"l{index}.nii.gz", index % 5)
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), study.image)
        nib.save(nib.Nifti1Image(labels.astype(np.uint8), np.eye(4)), study.label)
        found.append(study)
    return found


CALIBRATED = {
    "teacher::calibration": {"_target_": "rankseg_med.calibration.Temperature", "num_classes": "@num_classes"}
}


def config(epochs: int, name: str = "hippocampus"):
    settings = load_config("train", name, device="cpu")
    if name == "bcp_hippocampus":
        # Networks of a few iterations are confident of nothing.
        settings.update({"pseudo_labeller::decoder": "rankseg", "pseudo_labeller::min_confidence": 0.0} | CALIBRATED)
    settings.update(
        {
            **{"roi_size": [16, 16, 16], "epochs": epochs, "iterations_per_epoch": 10, "validate_every": 1},
            "network_def::channels": [4, 8],
            "network_def::strides": [2],
            "learning_rate": 0.02,
        }
    )
    return settings


def test_training_learns_and_leaves_checkpoints_and_scalars(studies, tmp_path):
    reports, threads = [], threading.active_count()
    training, validation = split_studies(studies, fold=0)
    train(config(4), training, validation, tmp_path / "run", on_epoch=reports.append)
    assert threading.active_count() == threads
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert reports[-1].loss < 0.6 * reports[0].loss
    assert reports[-1].validation_dice > 0.7
    for name in (LAST, BEST):
        content = torch.load(tmp_path / "run" / name, weights_only=True)
        weights = content.get("network", content)
        assert all(isinstance(value, torch.Tensor) for value in weights.values())
    scalars = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    tags = scalars.Tags()["scalars"]
    assert "train_loss" in tags
    assert "val_mean_dice" in tags
    assert len(scalars.Scalars("train_loss")) == 40
    assert scalars.Scalars("val_mean_dice")[-1].value == pytest.approx(reports[-1].validation_dice)


def test_a_network_may_return_its_edges_beside_the_classes_while_it_is_trained(studies, tmp_path):
    settings = config(2)
    settings["network_def"] = {
        "_target_": "rankseg_med.networks.architectures.GatedSCNN",
        **{"in_channels": "@channels", "out_channels": "@num_classes", "edges_in_training": True},
    }
    settings["loss"] = {"_target_": "rankseg_med.losses.DualTaskLoss", "loss": settings["loss"]}
    reports = []
    training, validation = split_studies(studies, fold=0)
    train(settings, training, validation, tmp_path / "run", on_epoch=reports.append)
    assert reports[-1].loss < reports[0].loss
    assert reports[-1].validation_dice > 0.2
    weights = torch.load(tmp_path / "run" / BEST, weights_only=True)
    assert any(name.startswith("shape_stream.") for name in weights.get("network", weights))


def test_a_loss_that_takes_no_edges_says_so(studies, tmp_path):
    settings = config(1)
    settings["network_def"] = {
        "_target_": "rankseg_med.networks.architectures.GatedSCNN",
        **{"in_channels": "@channels", "out_channels": "@num_classes", "edges_in_training": True},
    }
    with pytest.raises(
        InputError,
        match=r"a list of 2 in training, on which the config's loss, DiceCELoss, failed .*DualTaskLoss",
    ):
        train(settings, studies, [], tmp_path / "run")


def test_resuming_goes_on_where_it_stopped(studies, tmp_path):
    training, validation = split_studies(studies, fold=0)
    train(config(1), training, validation, tmp_path / "run")
    with pytest.raises(StudyError, match="exists already; go on with --resume"):
        train(config(3), training, validation, tmp_path / "run")
    reports = []
    train(config(3), training, validation, tmp_path / "run", resume=True, on_epoch=reports.append)
    assert [report.epoch for report in reports] == [2, 3]
    assert torch.load(tmp_path / "run" / LAST, weights_only=True)["trainer"]["iteration"] == 30
    assert sorted(path.name for path in (tmp_path / "run").glob("*.pt")) == [BEST, LAST]
    with pytest.raises(StudyError, match="has 3 of 3 epochs already; ask for more with --epochs"):
        train(config(3), training, validation, tmp_path / "run", resume=True)
    with pytest.raises(StudyError, match="there is no run to resume"):
        train(config(1), training, validation, tmp_path / "empty", resume=True)


def test_same_seed_same_network(studies, tmp_path):
    training, _ = split_studies(studies, fold=0)
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config(1), training, [], tmp_path / name, seed=seed)
        assert not (tmp_path / name / BEST).exists()
        weights.append(torch.load(tmp_path / name / LAST, weights_only=True)["network"])
    first, same, other = weights
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_loss_that_is_no_number_stops_with_the_reason(studies, tmp_path):
    settings = config(1)
    settings["learning_rate"] = 1e30
    with pytest.raises(RuntimeError, match=r"the loss became (nan|inf).*; lower the learning rate"):
        train(settings, studies, [], tmp_path / "run")


def test_a_bad_study_is_named(studies, tmp_path):
    bad = Study("bad", tmp_path / "bad.nii.gz", studies[0].label)
    bad.image.write_bytes(b"no image")
    with pytest.raises(StudyError, match=r"bad\.nii\.gz"):
        train(config(1), [*studies, bad], [], tmp_path / "run")


SEMI_SUPERVISED = ("bcp_hippocampus", "mean_teacher_hippocampus")


def semi_supervised_parts(studies):
    training, validation = split_studies(studies, fold=0, labelled=2)
    return training, validation, unlabelled_studies(studies, training, validation)


def losses_in(run):
    """Iteration to loss, read from TensorBoard's files; where an iteration ran twice, both must agree."""
    scalars = EventAccumulator(str(run / "tensorboard")).Reload().Scalars("train_loss")
    losses = {scalar.step: scalar.value for scalar in scalars}
    assert all(losses[scalar.step] == scalar.value for scalar in scalars)
    return losses


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "num_workers"),
    [
        ("mean_teacher_hippocampus", 0),
        *(pytest.param(name, 0, marks=pytest.mark.slow) for name in ("hippocampus", "bcp_hippocampus")),
        *(pytest.param(name, 2, marks=pytest.mark.slow) for name in ("hippocampus", *SEMI_SUPERVISED)),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_losses(studies, tmp_path, name, num_workers):
    training, validation, unlabelled = semi_supervised_parts(studies)
    options = {"unlabelled": unlabelled if "_" in name else [], "seed": 3}

    def settings(epochs=3):
        changed = config(epochs, name)
        changed.update({"iterations_per_epoch": 4, "num_workers": num_workers})
        changed["lr_scheduler::total_iters"] = 3
        return changed

    def interrupt(progress):
        if progress.epoch == 2:
            raise InterruptionError

    train(settings(), training, validation, tmp_path / "whole", **options)
    with pytest.raises(InterruptionError):
        train(settings(), training, validation, tmp_path / "parts", on_epoch=interrupt, **options)
    train(settings(), training, validation, tmp_path / "parts", resume=True, **options)

    losses = losses_in(tmp_path / "whole")
    assert len(losses) == 12
    assert losses_in(tmp_path / "parts") == losses
    for filename in (LAST, BEST):
        whole, parts = (torch.load(tmp_path / run / filename, weights_only=True) for run in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        assert ("calibration" in whole) == (name == "bcp_hippocampus")
        for part in {"network", "student", "calibration"} & whole.keys():
            assert all(torch.equal(whole[part][key], parts[part][key]) for key in whole[part])


@pytest.mark.parametrize(
    ("name", "quality"),
    [("bcp_hippocampus", "pseudo_label/expected_dice_2"), ("mean_teacher_hippocampus", "consistency/loss")],
)
def test_semi_supervised_training_learns_and_validates_its_teacher(studies, tmp_path, name, quality):
    reports = []
    settings = config(6, name)
    settings["teacher::decay"] = 0.9
    if name == "bcp_hippocampus":
        settings["pseudo_labeller::decoder"] = "argmax"
    training, validation, unlabelled = semi_supervised_parts(studies)
    train(settings, training, validation, tmp_path / "run", unlabelled=unlabelled, on_epoch=reports.append)
    assert reports[-1].validation_dice > 0.7
    content = torch.load(tmp_path / "run" / LAST, weights_only=True)
    teacher, student = content["network"], content["student"]
    assert teacher.keys() == student.keys()
    assert not all(torch.equal(teacher[key], student[key]) for key in teacher)

    network = settings.get_parsed_content("network_def")
    network.load_state_dict(teacher)
    assert validated_dice(settings, network, validation) == pytest.approx(reports[-1].validation_dice, abs=1e-4)

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert quality in events.Tags()["scalars"]
    logged = events.Tags()["images"]
    for panel in ("train/image", "train/label", "train/prediction", "validation/prediction"):
        assert any(tag.startswith(panel) for tag in logged), logged


def test_the_teachers_calibration_is_that_of_the_validation_volumes(studies, tmp_path):
    settings = config(2, "bcp_hippocampus")
    training, validation, unlabelled = semi_supervised_parts(studies)
    train(settings, training, validation, tmp_path / "run", unlabelled=unlabelled)
    content = torch.load(tmp_path / "run" / LAST, weights_only=True)
    network, calibration = settings.get_parsed_content("network_def"), Temperature(3)
    network.load_state_dict(content["network"])
    calibration.load_state_dict(content["calibration"])
    assert calibration.temperature != 1
    # Where it is the most likely one, probabilities add up to the voxels of each class.
    summed, voxels = torch.zeros(3), torch.zeros(3)
    for study in validation:
        item = settings.get_parsed_content("preprocessing")({"image": study.image, "label": study.label})
        with torch.no_grad():
            logits = settings.get_parsed_content("inferer")(item["image"][None].as_tensor(), network.eval())
        summed += calibration(logits).softmax(1)[0].sum((1, 2, 3))
        voxels += item["label"].as_tensor().flatten().long().bincount(minlength=3)
    torch.testing.assert_close(summed, voxels, rtol=1e-3, atol=1e-2)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert events.Scalars("temperature")[-1].value == pytest.approx(calibration.temperature)
    assert events.Scalars("bias_2")[-1].value == pytest.approx(float(calibration.bias[2]), abs=1e-6)
    assert torch.load(tmp_path / "run" / BEST, weights_only=True)["calibration"].keys() == {
        "inverse_temperature",
        "bias",
    }


def test_isotonic_maps_of_a_teacher_are_those_of_the_validation_volumes(studies, tmp_path):
    settings = config(2, "bcp_hippocampus")
    settings["teacher::calibration"] = {
        "_target_": "rankseg_med.calibration.IsotonicCalibration",
        "num_classes": "@num_classes",
    }
    training, validation, unlabelled = semi_supervised_parts(studies)
    train(settings, training, validation, tmp_path / "run", unlabelled=unlabelled)
    content = torch.load(tmp_path / "run" / LAST, weights_only=True)
    network, calibration = settings.get_parsed_content("network_def"), IsotonicCalibration(3)
    network.load_state_dict(content["network"])
    calibration.load_state_dict(content["calibration"])
    (study,) = validation
    item = settings.get_parsed_content("preprocessing")({"image": study.image, "label": study.label})
    with torch.no_grad():
        logits = settings.get_parsed_content("inferer")(item["image"][None].as_tensor(), network.eval())[0]
    expected = IsotonicCalibration(3)
    expected.fit(expected.observe(logits, item["label"].as_tensor()[0].long()))
    p = torch.linspace(0, 1, 101)
    for row in (1, 2):
        probe = torch.zeros(3, 101)
        probe[0], probe[row] = 1 - p, p
        torch.testing.assert_close(calibration.probabilities(probe), expected.probabilities(probe), atol=1e-3, rtol=0)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert events.Scalars("calibrated_half_1")[-1].value == pytest.approx(calibration.summary["calibrated_half_1"])


def test_a_calibration_needs_validation_studies(studies, tmp_path):
    training, _, unlabelled = semi_supervised_parts(studies)
    settings = config(1, "bcp_hippocampus")
    with pytest.raises(StudyError, match="fitted to validation studies, but there are none; hold some out with --fold"):
        train(settings, training, [], tmp_path / "run", unlabelled=unlabelled)
    settings = config(1, "bcp_hippocampus")
    settings["teacher::calibration"] = None
    train(settings, training, [], tmp_path / "run2", unlabelled=unlabelled)
    assert "calibration" not in torch.load(tmp_path / "run2" / LAST, weights_only=True)


def test_a_calibration_needs_every_class_in_the_validation_studies(studies, tmp_path):
    training, (study,), unlabelled = semi_supervised_parts(studies)
    label = nib.load(study.label)
    nib.save(nib.Nifti1Image(np.minimum(np.asarray(label.dataobj), 1), label.affine), tmp_path / "no_core.nii.gz")
    validation = [Study("no_core", study.image, tmp_path / "no_core.nii.gz")]
    with pytest.raises(StudyError, match=r"classes 2 do not occur.*; or set teacher::calibration to null"):
        train(config(1, "bcp_hippocampus"), training, validation, tmp_path / "run", unlabelled=unlabelled)


@torch.no_grad()
def validated_dice(settings, network, validation):
    """Foreground mean Dice of argmax by hand."""
    scores = []
    for study in validation:
        item = settings.get_parsed_content("preprocessing")({"image": study.image, "label": study.label})
        predicted = settings.get_parsed_content("inferer")(item["image"][None], network.eval())[0].argmax(0)
        for label in (1, 2):
            mask, truth = predicted == label, item["label"][0] == label
            scores.append(2 * int((mask & truth).sum()) / int(mask.sum() + truth.sum()))
    return float(np.mean(scores))


def test_labels_of_unlabelled_studies_are_never_read(studies, tmp_path):
    training, validation, unlabelled = semi_supervised_parts(studies)
    assert {study.case_id for study in (*training, *validation, *unlabelled)} == {s.case_id for s in studies}
    assert all(study.label is None for study in unlabelled)
    assert not {study.case_id for study in unlabelled} & {study.case_id for study in (*training, *validation)}
    test_image = Study("test", tmp_path / "test.nii.gz")
    assert unlabelled_studies([*studies, test_image], training, validation) == unlabelled
    # Not even whether they are there.
    elsewhere = [replace(study, label=tmp_path / "gone.nii.gz") for study in unlabelled]
    assert train(config(1, "bcp_hippocampus"), training, validation, tmp_path / "run", unlabelled=elsewhere)
    record = TrainingRecord.read(tmp_path / "run" / RECORD)
    assert [study.files for study in record.unlabelled] == [(str(study.image),) for study in unlabelled]
    assert [study.study(labelled=False) for study in record.unlabelled] == unlabelled


def test_unlabelled_studies_are_none_of_the_others(studies, tmp_path):
    training, validation, unlabelled = semi_supervised_parts(studies)
    under_another_id = Study("other", validation[0].image)
    for also in (training[0], under_another_id):
        with pytest.raises(StudyError, match=f"nor among those that validate, but these are: {also.case_id}"):
            train(config(1, "bcp_hippocampus"), training, validation, tmp_path / "run", unlabelled=[*unlabelled, also])
    assert not (tmp_path / "run").exists()


def test_what_the_method_cannot_do_is_said_before_anything_is_written(studies, tmp_path):
    training, validation, unlabelled = semi_supervised_parts(studies)
    settings = config(1, "bcp_hippocampus")
    settings["batch_size"] = 1
    with pytest.raises(InputError, match="an even number of labelled images and as many unlabelled"):
        train(settings, training, validation, tmp_path / "run", unlabelled=unlabelled)
    assert not (tmp_path / "run" / RECORD).exists()
    settings = config(1, "bcp_hippocampus")
    settings["method::box_ratio"] = 1.5
    with pytest.raises(ConfigError, match=r"box_ratio must be in \(0, 1\]"):
        train(settings, training, validation, tmp_path / "run", unlabelled=unlabelled)


def test_a_calibration_that_nothing_would_fit_is_refused(studies, tmp_path):
    training, validation, unlabelled = semi_supervised_parts(studies)
    settings = config(2, "bcp_hippocampus")
    settings["teacher::calibration"] = {"_target_": "rankseg_med.calibration.Temperature", "num_classes": 3}
    settings["validate_every"] = 3
    with pytest.raises(InputError, match="every 3 epochs, but there are 2; lower validate_every"):
        train(settings, training, validation, tmp_path / "run", unlabelled=unlabelled)


def test_unlabelled_studies_and_method_go_together(studies, tmp_path):
    training, validation, unlabelled = semi_supervised_parts(studies)
    with pytest.raises(StudyError, match="learns from unlabelled studies too, but there are none"):
        train(config(1, "bcp_hippocampus"), training, validation, tmp_path / "run")
    with pytest.raises(StudyError, match="2 unlabelled studies, but the config has no method"):
        train(config(1), training, validation, tmp_path / "run", unlabelled=unlabelled)


def test_a_longer_run_learns_on_at_the_rates_of_its_length(studies, tmp_path):
    training, validation = split_studies(studies, fold=0)
    run, before, after = tmp_path / "run", [], []
    train(config(2), training, validation, run, on_epoch=before.append)
    train(config(8), training, validation, run, resume=True, on_epoch=after.append)
    # The polynomial from 0.02 to 0 over 2 and over 8 epochs, and the learning rate that is used after them.
    assert [report.learning_rate for report in before] == pytest.approx([0.02 * (1 - k / 2) ** 0.9 for k in range(2)])
    assert [report.learning_rate for report in after] == pytest.approx([0.02 * (1 - k / 8) ** 0.9 for k in range(2, 8)])
    assert after[-1].loss < 0.8 * before[-1].loss
    assert [row["epochs"] for row in history_of(run)] == ["2"] * 2 + ["8"] * 6
    content = torch.load(run / LAST, weights_only=True)
    assert content["trainer"]["max_epochs"] == 8
    assert content["lr_scheduler"]["total_iters"] == 8


@pytest.mark.parametrize(
    ("first", "then", "learns_from_labels_alone"),
    [(2, 20, 4), (2, 3, 4), pytest.param(10, 20, 40, marks=pytest.mark.slow)],
)
def test_pretraining_that_is_over_stays_over_in_a_longer_run(studies, tmp_path, first, then, learns_from_labels_alone):
    """A fifth of the iterations, 10 an epoch; stopped in the 11th."""
    training, validation, unlabelled = semi_supervised_parts(studies)
    options = {"unlabelled": unlabelled}
    longer = config(then, "bcp_hippocampus")
    train(config(first, "bcp_hippocampus"), training, validation, tmp_path, stop=StopAfter(10), **options)
    train(longer, training, validation, tmp_path, resume=True, stop=StopAfter(2), **options)
    assert longer.get_parsed_content("method").pretraining_iterations == learns_from_labels_alone
    scalars = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    # Pseudo-labels are drawn from the iteration after it on.
    tags = scalars.Tags()["scalars"]
    drawn = scalars.Scalars("pseudo_label/expected_dice_1") if "pseudo_label/expected_dice_1" in tags else []
    assert [scalar.step for scalar in drawn] == [*range(learns_from_labels_alone + 1, 15)]


def test_a_ramp_that_is_over_stays_over_in_a_longer_run(studies, tmp_path):
    training, validation, unlabelled = semi_supervised_parts(studies)
    options = {"unlabelled": unlabelled}
    train(config(2, "mean_teacher_hippocampus"), training, validation, tmp_path / "over", **options)
    train(config(3, "mean_teacher_hippocampus"), training, validation, tmp_path / "over", resume=True, **options)
    weights = EventAccumulator(str(tmp_path / "over" / "tensorboard")).Reload().Scalars("consistency/weight")
    assert {scalar.value for scalar in weights if scalar.step >= 4} == {1.0}

    train(config(10, "mean_teacher_hippocampus"), training, validation, tmp_path / "not", stop=StopAfter(5), **options)
    longer = config(20, "mean_teacher_hippocampus")
    train(longer, training, validation, tmp_path / "not", resume=True, stop=StopAfter(1), **options)
    assert longer.get_parsed_content("method").ramp_iterations == 40


class StopAfter(Event):
    """Is set after so many looks at it: one an iteration, or one at the end of an epoch."""

    def __init__(self, looks: int):
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def history_of(run):
    if not (run / HISTORY).exists():
        return []
    with (run / HISTORY).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "num_workers"),
    [
        pytest.param("hippocampus", 2, marks=pytest.mark.slow),
        ("bcp_hippocampus", 0),
        pytest.param("mean_teacher_hippocampus", 0, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_stopped_anywhere_resumes_to_the_same_losses(studies, tmp_path, name, num_workers):
    training, validation, unlabelled = semi_supervised_parts(studies)
    options = {"unlabelled": unlabelled if "_" in name else [], "seed": 3}

    def settings():
        changed = config(3, name)
        changed.update({"iterations_per_epoch": 4, "num_workers": num_workers})
        return changed

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(settings(), training, validation, whole, **options)
    # In the middle of the first epoch, at its end, and twice in the second; then to the end of the third.
    for iteration, looks, resume in ((3, 2, False), (4, 0, True), (6, 1, True), (7, 0, True)):
        assert not train(settings(), training, validation, parts, resume=resume, stop=StopAfter(looks), **options)
        assert torch.load(parts / LAST, weights_only=True)["trainer"]["iteration"] == iteration
        assert len(history_of(parts)) == iteration // 4
    assert train(settings(), training, validation, parts, resume=True, **options)

    assert losses_in(parts) == losses_in(whole)
    for row, other in zip(history_of(parts), history_of(whole), strict=True):
        assert {**row, "seconds": ""} == {**other, "seconds": ""}
    for filename in (LAST, BEST):
        first, second = (torch.load(run / filename, weights_only=True) for run in (whole, parts))
        for part in {"network", "student", "calibration"} & first.keys():
            assert all(torch.equal(first[part][key], second[part][key]) for key in first[part])


def test_a_folder_says_what_it_is_of(studies, tmp_path):
    training, validation, unlabelled = semi_supervised_parts(studies)
    settings = config(2, "bcp_hippocampus")
    choice = {"fold": 0, "labelled": "2"}
    train(settings, training, validation, tmp_path, unlabelled=unlabelled, seed=5, choice=choice)
    record = TrainingRecord.read(tmp_path / RECORD)
    assert (record.seed, record.processes, record.choice) == (5, 1, choice)
    for part, expected in (("training", training), ("unlabelled", unlabelled), ("validation", validation)):
        assert [study.case_id for study in getattr(record, part)] == [study.case_id for study in expected]
    assert record.config["method"]["_target_"] == "rankseg_med.semisupervised.BidirectionalCopyPaste"
    assert (record.config["learning_rate"], record.config["network_def"]["channels"]) == (0.02, [4, 8])
    train(config(3, "bcp_hippocampus"), training, validation, tmp_path, unlabelled=unlabelled, seed=5, resume=True)
    sessions = TrainingRecord.read(tmp_path / RECORD).sessions
    assert [(session.epochs, session.iteration) for session in sessions] == [(2, 0), (3, 20)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([BEST, LAST, RECORD, HISTORY, "tensorboard"])


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_the_same_training_is_resumed(studies, tmp_path):
    training, validation = split_studies(studies, fold=0)
    run = tmp_path / "run"
    train(config(1), training, validation, run)
    before = content_of(run)
    other_rate = config(2)
    other_rate["optimizer::weight_decay"] = 0.5
    for settings, fold, options, message in (
        (config(2), 1, {}, "validation studies that were trained on: ball_1"),
        (config(2), None, {}, "training studies that are new: ball_0"),
        (config(2), 0, {"seed": 1}, "seed: was 0, is now 1"),
        (other_rate, 0, {}, r"optimizer::weight_decay: was 0\.0001, is now 0\.5"),
    ):
        with pytest.raises(StudyError, match=rf"(?s)run: cannot be resumed, .*\n- {message}\n"):
            train(settings, *split_studies(studies, fold=fold), run, resume=True, **options)
    swapped = [Study(s.case_id, studies[0].image, s.label) for s in training]
    with pytest.raises(StudyError, match=r"(?s)study ball_1: has changed, or is another one: .*i0.nii.gz.*ball_4"):
        train(config(2), swapped, validation, run, resume=True)
    assert content_of(run) == before


def test_a_folder_whose_files_are_damaged_or_missing_is_left_alone(studies, tmp_path):
    training, _ = split_studies(studies, fold=0)
    train(config(1), training, [], tmp_path)
    whole = content_of(tmp_path)
    for name, content, resume, message in (
        (LAST, whole[tmp_path / LAST][:1000], True, r"last\.pt: is damaged"),
        (LAST, None, True, r"last\.pt: is missing; put it back"),
        (RECORD, b"{}", True, r"training\.json: is not the record of a training"),
        (RECORD, None, True, r"training\.json: is missing, as in folders of older versions"),
        (HISTORY, b"a,b", True, r"history\.csv: is no history"),
        (LAST, None, False, r"training\.json: exists already; go on with --resume"),
        (RECORD, None, False, r"last\.pt: exists already; go on with --resume"),
    ):
        path = tmp_path / name
        path.unlink() if content is None else path.write_bytes(content)
        before = content_of(tmp_path)
        with pytest.raises(StudyError, match=message):
            train(config(2), training, [], tmp_path, resume=resume)
        assert content_of(tmp_path) == before
        path.write_bytes(whole[path])
    train(config(2), training, [], tmp_path, resume=True)


def test_the_loss_scale_of_mixed_precision_goes_on(studies, tmp_path, monkeypatch):
    """Doubled after every third iteration; a scaler for CPUs stands in for CUDA's."""
    made = []

    def scaler_of(device):
        made.append(torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3))
        return made[-1]

    training, _ = split_studies(studies, fold=0)
    train(config(1), training, [], tmp_path / "cpu")
    monkeypatch.setattr("rankseg_med.training.engines.scaler_of", scaler_of)
    train(config(1), training, [], tmp_path / "run")
    train(config(2), training, [], tmp_path / "run", resume=True)
    assert [scaler.get_scale() for scaler in made] == [8 * 2**3, 8 * 2**6]
    # One that was started without goes on with a new one.
    train(config(2), training, [], tmp_path / "cpu", resume=True)
    assert made[2].get_scale() == 8 * 2**3


def test_a_checkpoint_of_another_training_is_refused(studies, tmp_path):
    """Which learnt from what validates here."""
    for fold, run in ((0, tmp_path / "a"), (1, tmp_path / "b")):
        train(config(1), *split_studies(studies, fold=fold), run)
    (tmp_path / "b" / LAST).replace(tmp_path / "a" / LAST)
    before = content_of(tmp_path / "a")
    with pytest.raises(StudyError, match=r"last\.pt: cannot be resumed, since its identity does not fit"):
        train(config(2), *split_studies(studies, fold=0), tmp_path / "a", resume=True)
    assert content_of(tmp_path / "a") == before


def test_two_trainings_do_not_share_a_folder(studies, tmp_path):
    training, _ = split_studies(studies, fold=0)
    refused = []

    def start_another(progress):
        with pytest.raises(StudyError) as error:
            train(config(2), training, [], tmp_path, resume=True)
        refused.append(str(error.value))

    train(config(2), training, [], tmp_path, on_epoch=start_another)
    assert len(refused) == 2
    assert all("works in this folder" in message for message in refused)
    assert len(losses_in(tmp_path)) == 20


def test_a_training_that_lost_its_folder_ends(studies, tmp_path):
    """As after the machine slept: another one may have begun there."""
    training, _ = split_studies(studies, fold=0)

    def lose(progress):
        for claim in (tmp_path / ".claims").iterdir():
            claim.unlink()

    with pytest.raises(StudyError, match="lost its claim on the folder"):
        train(config(3), training, [], tmp_path, on_epoch=lose)
    assert len(losses_in(tmp_path)) < 30


def test_a_supervised_run_is_no_start_for_a_semi_supervised_one(studies, tmp_path):
    training, validation, unlabelled = semi_supervised_parts(studies)
    train(config(1), training, validation, tmp_path / "run")
    with pytest.raises(StudyError, match=r"(?s)method::_target_: was \(absent\), is now.*new: ball_2, ball_4"):
        train(config(2, "bcp_hippocampus"), training, validation, tmp_path / "run", unlabelled=unlabelled, resume=True)


def test_labelled_studies_by_name(studies):
    training, _ = split_studies(studies, fold=2, labelled=["ball_4", "ball_0"])
    assert [study.case_id for study in training] == ["ball_0", "ball_4"]
    with pytest.raises(StudyError, match=r"is one held out\?\): ball_2, ball_9"):
        split_studies(studies, fold=2, labelled=["ball_2", "ball_9", "ball_1"])


def test_split_by_fold_and_number(studies):
    training, validation = split_studies(studies, fold=2)
    assert [study.case_id for study in validation] == ["ball_2"]
    assert len(training) == 4
    assert split_studies(studies, fold=None) == (studies, [])
    two, _ = split_studies(studies, fold=2, labelled=2, seed=5)
    three, _ = split_studies(studies, fold=2, labelled=3, seed=5)
    assert set(two) < set(three) < set(training)
    assert two == split_studies(list(reversed(studies)), fold=2, labelled=2, seed=5)[0]
    with pytest.raises(StudyError, match="asked for 9 labelled studies, the data list has 4"):
        split_studies(studies, fold=2, labelled=9)
    with pytest.raises(StudyError, match="no study of the data list is in fold 7"):
        split_studies(studies, fold=7)
