"""Classifiers in training: stopped and resumed, refused, and on blobs that can be learnt."""

from threading import Event

import numpy as np
import pytest
import torch

from rankseg_med.configuration import load_config
from rankseg_med.pretraining import ExplainJob, read_image_classes, train_classifiers, with_image_classes
from rankseg_med.runs import run_job
from rankseg_med.studies import StudyError, find_studies, load_label_map
from tests.pretraining.blobs import SMALL, write_blobs, write_config

NAMES = ["background", "nodule"]


def given(folder, count, **entries):
    masks = write_blobs(folder, count)
    classes = read_image_classes(folder / "classes.csv")
    studies = with_image_classes(find_studies(folder / "images"), classes, NAMES)
    config = write_config(folder / "tiny.yaml", "classify", **{"classifiers": [SMALL, SMALL], **entries})
    return masks, studies, lambda: load_config("train", config, device="cpu")


def weights_in(paths):
    return [torch.load(path, weights_only=True)["network"] for path in paths]


def test_stopped_and_resumed_they_are_the_same_and_so_are_the_label_maps(tmp_path):
    _, studies, config = given(tmp_path, 4)
    stop = Event()

    def after_three_epochs(number, progress):
        if (number, progress.epoch) == (1, 1):
            stop.set()

    runs = tmp_path / "runs"
    stopped = train_classifiers(config(), studies, runs / "stopped", stop=stop, on_epoch=after_three_epochs)
    assert stopped is None
    first = (runs / "stopped" / "0" / "last.pt").read_bytes()
    resumed = train_classifiers(config(), studies, runs / "stopped")
    straight = train_classifiers(config(), studies, runs / "straight")
    assert (runs / "stopped" / "0" / "last.pt").read_bytes() == first, "what is trained is not trained again"
    for one, other in zip(weights_in(resumed), weights_in(straight), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    files = []
    for name, checkpoints in {"resumed": resumed, "straight": straight}.items():
        job = ExplainJob(config(), checkpoints, studies, tmp_path / name)
        assert {outcome.status for outcome in run_job(job, studies)} == {"done"}
        files.append({path.name: path.read_bytes() for path in job.output.glob("*.nii.gz")})
    assert files[0] == files[1]
    assert len(files[0]) == 12


def test_a_folder_of_other_classes_is_refused(tmp_path):
    _, studies, config = given(tmp_path, 4, epochs=1, classifiers=[SMALL])
    train_classifiers(config(), studies, tmp_path / "run")
    classes = {"case_0": "background", "case_1": "nodule", "case_2": "nodule", "case_3": "background"}
    others = with_image_classes(studies, classes, NAMES)
    with pytest.raises(StudyError, match="training study case_0: the class of the image was 1, is now 0"):
        train_classifiers(config(), others, tmp_path / "run")


def test_an_ensemble_may_grow(tmp_path):
    _, studies, config = given(tmp_path, 4, epochs=1, classifiers=[SMALL])
    (first,) = train_classifiers(config(), studies, tmp_path / "run")
    before = first.read_bytes()
    write_config(tmp_path / "tiny.yaml", "classify", classifiers=[SMALL, SMALL], epochs=1)
    assert len(train_classifiers(config(), studies, tmp_path / "run")) == 2
    assert first.read_bytes() == before


@pytest.mark.slow
def test_label_maps_of_blobs_overlap_them_better_than_chance(tmp_path):
    """Of the voxels of a blob a tenth would be foreground by chance; a fifth of some 500 voxels is far beyond that."""
    schedule = {"epochs": 4, "iterations_per_epoch": 10, "batch_size": 8, "learning_rate": 0.01}
    schedule |= {"augmentation::transforms": [], "explainer::samples": 5}
    networks = [{**SMALL, "channels": [8, 16]}] * 2
    masks, studies, config = given(tmp_path, 16, classifiers=networks, **schedule)
    checkpoints = train_classifiers(config(), studies, tmp_path / "run")
    job = ExplainJob(config(), checkpoints, studies, tmp_path / "out")
    covered = []
    for outcome in run_job(job, studies):
        assert outcome.status == "done"
        if (mask := masks[outcome.case.case_id]).any():
            covered.append(load_label_map(outcome.paths[0]).numpy()[0][mask].mean())
    assert len(covered) == 8
    assert np.mean(covered) > 0.2
