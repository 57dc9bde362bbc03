"""Explained studies on disk, of classifiers whose explanation is known."""

import json
import pickle
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from rankseg_med.configuration import ConfigError, load_config
from rankseg_med.networks import CheckpointError
from rankseg_med.pretraining import ExplainJob, with_image_classes, write_explained_list
from rankseg_med.runs import RunOptions, run_job
from rankseg_med.studies import Manifest, Sidecar, find_studies
from tests.pretraining.blobs import LINEAR, SIZE, write_blobs, write_config
from tests.voxels import voxels_of

WEIGHT = np.random.default_rng(5).normal(size=(SIZE, SIZE, SIZE)).astype(np.float32)
CLASSES = {"case_0": "nodule", "case_1": "background", "case_2": "nodule"}


@pytest.fixture
def studies(tmp_path):
    write_blobs(tmp_path, 3)
    return with_image_classes(find_studies(tmp_path / "images"), CLASSES, ["background", "nodule"])


@pytest.fixture
def job_of(tmp_path):
    def make(studies, weights=(WEIGHT,), epochs=1, **options):
        paths = []
        for number, weight in enumerate(weights):
            paths.append(tmp_path / f"{number}.pt")
            torch.save({"network": {"weight": torch.from_numpy(weight)[None]}}, paths[-1])
        entries = {"classifiers": [LINEAR] * len(weights), "explainer::samples": 1, "epochs": epochs}
        path = write_config(tmp_path / "tiny.yaml", "classify", **entries)
        config = load_config("train", path, device="cpu")
        return ExplainJob(config, paths, studies, tmp_path / "out", **options)

    return make


def test_files_of_a_linear_classifier_by_hand(studies, job_of):
    """The network sees the first axis the other way round."""
    job = pickle.loads(pickle.dumps(job_of(studies)))  # noqa: S301 - as to another process
    outcomes = list(run_job(job, studies))
    assert [outcome.error for outcome in outcomes] == [None] * 3
    explanation = np.abs(WEIGHT)[::-1]
    levels = sum((explanation > np.quantile(explanation, k / 10)).astype(int) for k in range(1, 10))
    for outcome in outcomes:
        label, weight, found = map(voxels_of, outcome.paths)
        if outcome.case.case_id == "case_1":
            assert not label.any()
            assert not found.any()
            np.testing.assert_allclose(weight, 1, rtol=1e-6)
        else:
            np.testing.assert_array_equal(found, levels)
            np.testing.assert_array_equal(label, levels == 9)
            np.testing.assert_allclose(weight, np.where(levels == 9, 1, 1 - levels / 9), atol=1e-5)
            assert label.sum() == -(-label.size // 10)
        for path in outcome.paths:
            np.testing.assert_array_equal(nib.load(path).affine, np.diag([-1, 1, 1, 1]))
        score = float((WEIGHT * voxels_of(outcome.case.image)[::-1]).sum())
        probability = 1 / (1 + np.exp(-score if outcome.case.image_class else score))
        details = Sidecar.read(job.output / f"{outcome.case.case_id}.json").details
        assert details["class_probabilities"] == pytest.approx([probability], abs=1e-4)
        assert details["image_class"] == CLASSES[outcome.case.case_id]


def test_done_is_not_done_again_and_lost_files_come_back_the_same(studies, job_of):
    list(run_job(job_of(studies), studies))
    files = {path: path.read_bytes() for path in job_of(studies).output.glob("*.nii.gz")}
    assert len(files) == 9
    assert {outcome.status for outcome in run_job(job_of(studies), studies)} == {"skipped"}
    lost = job_of(studies).outputs_of(studies[0])[1]
    lost.unlink()
    assert [outcome.status for outcome in run_job(job_of(studies), studies)] == ["skipped", "skipped", "done"]
    assert {path: path.read_bytes() for path in files} == files
    assert {outcome.status for outcome in run_job(job_of(studies, epochs=7), studies)} == {"skipped"}
    other = [replace(studies[0], image_class=0), *studies[1:]]
    assert {outcome.status for outcome in run_job(job_of(other), other)} == {"stale"}
    assert {outcome.status for outcome in run_job(job_of(studies, seed=1), studies)} == {"stale"}
    overwrite = RunOptions(overwrite=True)
    assert {outcome.status for outcome in run_job(job_of(studies, [-WEIGHT]), studies, overwrite)} == {"done"}


def test_the_list_leaves_out_what_nothing_explains(studies, job_of):
    job = job_of(studies, [np.zeros_like(WEIGHT)])
    list(run_job(job, studies[:2]))
    written = write_explained_list(job, studies)
    assert (written.listed, written.unexplained, written.missing) == (["case_1"], ["case_0"], ["case_2"])
    assert (written.absent, written.is_written, written.path.exists()) == (["nodule"], False, False)
    job = job_of(studies)
    list(run_job(job, studies, RunOptions(overwrite=True)))
    written = write_explained_list(job, [replace(studies[0], fold=3), *studies[1:]])
    entries = Manifest.read(written.path).training
    assert [(entry.id, entry.fold) for entry in entries] == [("case_0", 3), ("case_1", None), ("case_2", None)]
    assert (entries[0].label, entries[0].weight) == ("../case_0.nii.gz", "../case_0_weight.nii.gz")
    (found, *_) = find_studies(written.path)
    assert found.weight.resolve() == (job.output / "case_0_weight.nii.gz").resolve()
    assert json.loads(written.path.read_text())["labels"] == {"0": "background", "1": "nodule"}


def test_a_list_of_stale_studies_is_left_as_it_is(studies, job_of):
    job = job_of(studies)
    list(run_job(job, studies))
    before = write_explained_list(job, studies).path.read_bytes()
    other = job_of(studies, seed=1)
    list(run_job(other, studies[:2], RunOptions(overwrite=True)))
    written = write_explained_list(other, studies)
    assert (written.listed, written.stale, written.missing) == (["case_0", "case_1"], ["case_2"], ["case_2"])
    assert not written.is_written
    assert written.path.read_bytes() == before


def test_a_bad_study_does_not_stop_the_others(studies, job_of):
    studies[0].image.write_bytes(b"no image")
    outcomes = {outcome.case.case_id: outcome.status for outcome in run_job(job_of(studies), studies)}
    assert outcomes == {"case_0": "failed", "case_1": "done", "case_2": "done"}


def test_what_no_job_can_be_made_of(studies, job_of, tmp_path):
    config = load_config("train", write_config(tmp_path / "two.yaml", "classify"), device="cpu")
    with pytest.raises(ConfigError, match="classifiers: lists 3, but there are 0 checkpoints"):
        ExplainJob(config, [], studies, tmp_path)
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        ExplainJob(config, [tmp_path / "absent.pt"] * 3, studies, tmp_path)
    without = load_config("train", write_config(tmp_path / "none.yaml"), device="cpu")
    with pytest.raises(ConfigError, match="classifiers: must list one network at the least, got None"):
        ExplainJob(without, [], studies, tmp_path)


def test_of_what_the_window_cuts_off_nothing_is_learnt(tmp_path, job_of):
    """The image is 20 voxels long where the window has 12: four at either end are not seen."""
    image = nib.Nifti1Image(np.zeros((SIZE, SIZE, 20), np.float32), np.diag([-1, 1, 1, 1]))
    write_blobs(tmp_path, 3)
    nib.save(image, tmp_path / "images" / "case_0.nii.gz")
    studies = with_image_classes(find_studies(tmp_path / "images"), CLASSES, ["background", "nodule"])
    job = job_of(studies)
    outcome, _, _ = run_job(job, studies)
    explanation = np.zeros(image.shape)
    explanation[..., 4:16] = np.abs(WEIGHT)[::-1]
    borders = np.quantile(np.abs(WEIGHT), np.arange(1, 10) / 10)
    label, weight, levels = map(voxels_of, outcome.paths)
    np.testing.assert_array_equal(levels, (explanation[..., None] > borders).sum(-1))
    np.testing.assert_array_equal(label, levels == 9)
    seen = np.zeros(image.shape, bool)
    seen[..., 4:16] = True
    np.testing.assert_allclose(weight, np.where(levels == 9, 1, seen * (1 - levels / 9)), atol=1e-5)
    assert Sidecar.read(tmp_path / "out" / "case_0.json").details["seen"] == pytest.approx(12 / 20)
    assert write_explained_list(job, studies).partly_seen == ["case_0"]


def test_voxels_at_the_edge_of_the_window_count_for_what_was_seen_of_them(tmp_path, job_of):
    """The further along the last axis, the more a voxel explains: the highest tenth is of the last slice that is seen.

    At 1.3 mm it lies between a slice of the window and one beyond; nine slices are seen.
    """
    rising = (np.arange(10, 10 + SIZE) + np.abs(WEIGHT) / 100).astype(np.float32)
    write_blobs(tmp_path, 3)
    image = nib.Nifti1Image(np.zeros((SIZE, SIZE, 20), np.float32), np.diag([-1, 1, 1.3, 1]))
    nib.save(image, tmp_path / "images" / "case_0.nii.gz")
    studies = with_image_classes(find_studies(tmp_path / "images"), CLASSES, ["background", "nodule"])
    (outcome,) = run_job(job_of(studies, [rising]), studies[:1])
    label, weight, _ = map(voxels_of, outcome.paths)
    of_slices = [np.flatnonzero(values.any((0, 1))) for values in (label, weight)]
    assert of_slices[0].tolist() == [of_slices[1][-1]]
    assert Sidecar.read(tmp_path / "out" / "case_0.json").details["seen"] == pytest.approx(9 / 20)
