"""Pseudo-labels of whole volumes: what is on disk, against the network's probabilities by hand."""

import pickle
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose
from scipy import ndimage

from rankseg_med.calibration import Temperature
from rankseg_med.configuration.config import ConfigError, load_config
from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder
from rankseg_med.inference import SegmentationModel, StreamingInferer
from rankseg_med.networks import SHIPPED_WEIGHTS, CheckpointError
from rankseg_med.runs.run import RunOptions, run_job
from rankseg_med.semisupervised import PseudoLabel, PseudoLabeller
from rankseg_med.semisupervised.voxel_runs import voxel_runs
from rankseg_med.studies import Sidecar, Study, find_studies
from rankseg_med.transforms import LoadStudyd
from rankseg_med.workflows.label_maps import LabelMaps
from rankseg_med.workflows.predict import Prediction
from rankseg_med.workflows.pseudo_label import Exports, PseudoLabelJob, quality
from tests.voxels import voxels_of
from tests.workflows.given import GivenLabeller, GivenPrediction


class IntensityIsLogit(torch.nn.Module):
    """Foreground with probability sigmoid(intensity)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x), x], 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        logits = 20 * ndimage.gaussian_filter(rng.normal(size=(20, 16, 12)), 1.2)
        nib.save(nib.Nifti1Image(logits.astype(np.float32), np.diag([-1, 1, 2, 1])), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def prediction(tmp_path):
    inferer = StreamingInferer((16, 16, 12), overlap=0.5)
    model = SegmentationModel(Compose([LoadStudyd("image")]), [IntensityIsLogit()], inferer, 2, RankSEGDecoder())
    return Prediction(model, LabelMaps(tmp_path / "out"))


def job_of(prediction, **options):
    return GivenLabeller(prediction, PseudoLabeller("argmax", min_confidence=0.7), **options)


@pytest.fixture
def job(prediction):
    return job_of(prediction)


def test_exports_that_would_be_another_studys_label_are_refused(prediction, job, images):
    """The confidence of "a" and the pseudo-label of "a_confidence" have the same name."""
    studies = [Study("a", images / "a.nii.gz"), Study("a_confidence", images / "b.nii.gz")]
    exporting = job_of(prediction, exports=Exports(confidence=True))
    outcomes = list(run_job(exporting, studies))
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert "would be written for each of 'a', 'a_confidence'" in outcomes[0].reason
    assert not list(job.output.glob("*.nii.gz"))
    assert [outcome.status for outcome in run_job(job, studies)] == ["done", "done"]


def test_label_confidence_and_soft_labels_by_hand(prediction, images):
    """Argmax, the largest component, and 255 where the label's probability is below 0.7."""
    job = job_of(prediction, exports=Exports(confidence=True, soft_labels=True))
    outcomes = list(run_job(job, find_studies(images)))
    assert [outcome.error for outcome in outcomes] == [None, None]
    for outcome in outcomes:
        p = 1 / (1 + np.exp(-voxels_of(outcome.case.image).astype(np.float64)))
        components, count = ndimage.label(p > 0.5, np.ones((3, 3, 3)))
        assert count > 1, "the example must need cleaning"
        largest = 1 + np.argmax(np.bincount(components.flat)[1:])
        mask = components == largest
        confidence = np.where(mask, p, 1 - p)
        label_map, exported, soft = map(voxels_of, outcome.paths)
        names = [path.name for path in outcome.paths]
        case_id = outcome.case.case_id
        assert names == [f"{case_id}.nii.gz", f"{case_id}_confidence.nii.gz", f"{case_id}_soft.nii.gz"]
        clear = np.abs(confidence - 0.7) > 1e-4  # a level's width
        np.testing.assert_array_equal(label_map[clear], np.where(confidence >= 0.7, mask, 255)[clear])
        np.testing.assert_allclose(exported[clear], np.where(confidence >= 0.7, confidence, 0)[clear], atol=3e-5)
        np.testing.assert_allclose(soft, np.stack([1 - p, p], -1), atol=3e-5)
        for path in outcome.paths:
            np.testing.assert_array_equal(nib.load(path).affine, nib.load(outcome.case.image).affine)

        details = Sidecar.read(job.output / f"{case_id}.json").details
        assert details["voxels"]["1"] == np.count_nonzero(label_map == 1)
        assert details["ignored_fraction"] == pytest.approx((label_map == 255).mean(), abs=1e-9)
        # Of the label map after cleanup and before voxels are ignored; large sums, so close to a ratio of means.
        ratio = 2 * p[mask].sum() / (mask.sum() + p.sum())
        assert details["expected_dice"]["1"] == details["mean_expected_dice"] == pytest.approx(ratio, abs=2e-3)


def test_done_is_skipped_until_another_export_is_wanted(prediction, job, images):
    studies = find_studies(images)
    assert [outcome.status for outcome in run_job(job, studies)] == ["done", "done"]
    assert [outcome.status for outcome in run_job(job, studies)] == ["skipped", "skipped"]
    with_confidence = job_of(prediction, exports=Exports(confidence=True))
    assert [outcome.status for outcome in run_job(with_confidence, studies)] == ["done", "done"]
    other = job_of(prediction, weights="others")
    assert {outcome.status for outcome in run_job(other, studies)} == {"stale"}
    assert {outcome.status for outcome in run_job(other, studies, RunOptions(overwrite=True))} == {"done"}


def test_a_bad_study_does_not_stop_the_others(job, images, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a_bad.nii.gz").write_bytes(b"no image")
    (folder / "b_good.nii.gz").write_bytes((images / "b.nii.gz").read_bytes())
    failed, done = run_job(job, find_studies(folder))
    assert (failed.status, done.status) == ("failed", "done")
    assert "a_bad.nii.gz" in failed.reason


def test_labels_alone_are_not_enough(prediction, images):
    labels_only = replace(prediction, model=replace(prediction.model, decoder=ArgmaxDecoder()))
    outcomes = run_job(job_of(labels_only), find_studies(images))
    assert {outcome.status for outcome in outcomes} == {"failed"}


def test_quality_counts_labels_that_occur():
    """Mean over labels 1 and 3; label 2, which the study does not have, is left aside."""
    label_map = torch.tensor([[0, 1, 3, 255], [3, 0, 0, 0]], dtype=torch.uint8)
    weight = (label_map != 255).float()
    expected = torch.tensor([0.75, 0.0, 0.25], dtype=torch.float64)
    details = quality(PseudoLabel(label_map, weight, weight, expected, ()))
    assert details["expected_dice"] == {"1": 0.75, "2": 0.0, "3": 0.25}
    assert details["mean_expected_dice"] == 0.5
    assert details["voxels"] == {"1": 1, "2": 0, "3": 2}
    assert details["ignored_fraction"] == 1 / 8
    nothing = PseudoLabel(torch.zeros_like(label_map), weight, weight, expected, ())
    assert quality(nothing)["mean_expected_dice"] == 0


def test_the_job_of_a_config(tmp_path):
    weights = SHIPPED_WEIGHTS / "demo.safetensors"
    config = load_config("inference", "demo", device="cpu")
    with pytest.raises(ConfigError, match="lacks a pseudo_labeller"):
        PseudoLabelJob(config, [weights], tmp_path)
    config["pseudo_labeller"] = {"_target_": "rankseg_med.semisupervised.PseudoLabeller", "largest_component": [[1, 2]]}
    job = PseudoLabelJob(config, [weights], tmp_path)
    assert job.label_names == ("background", "organ", "tumour")
    assert job.labeller().largest_component == [[1, 2]]
    model = job.prediction().model
    assert (model.grid, model.ensemble, repr(model.decoder)) == ("native", "mean", repr(RankSEGDecoder()))
    sent = pickle.loads(pickle.dumps(job))  # noqa: S301 - as to another process
    assert sent.labeller().largest_component == [[1, 2]]
    assert config["cleanup"] is not None, "the caller's config stays as it is"
    config["pseudo_labeller::decoder"] = "argmax"
    assert PseudoLabelJob(config, [weights], tmp_path).digest != job.digest
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        PseudoLabelJob(config, [tmp_path / "absent.pt"], tmp_path)


def test_the_configs_own_decoder(tmp_path):
    """Such as that of an overlay that `tune` wrote, over the method's."""
    (tmp_path / "tuned.yaml").write_text("decoder::coherence: 0.5\ndecoder::presence: always\n")
    config = load_config("inference", ["demo", "self_training", tmp_path / "tuned.yaml"], device="cpu")
    job = PseudoLabelJob(config, [SHIPPED_WEIGHTS / "demo.safetensors"], tmp_path)
    assert job.labeller().decoder == config.get_parsed_content("decoder")
    assert (job.labeller().decoder.coherence, job.labeller().decoder.presence) == (0.5, "always")
    assert config["pseudo_labeller::decoder"] == "@decoder", "the caller's config stays as it is"


def test_a_calibrated_teachers_probabilities_are_those_of_its_calibration(tmp_path):
    """Softmax of z / T + b: proportional to p ** (1 / T) * exp(b)."""
    torch.manual_seed(0)
    calibration = Temperature(3)
    calibration.load_state_dict({"inverse_temperature": torch.tensor(0.5), "bias": torch.tensor([0.0, -1.0, 0.7])})
    config = load_config("inference", "demo", device="cpu")
    config["pseudo_labeller"] = {"_target_": "rankseg_med.semisupervised.PseudoLabeller"}
    network = config.get_parsed_content("network_def")
    torch.save({"network": network.state_dict(), "calibration": calibration.state_dict()}, tmp_path / "w.pt")
    torch.save({"network": network.state_dict()}, tmp_path / "without.pt")
    image = np.random.default_rng(0).normal(40, 100, (70, 64, 48)).astype(np.float32)
    nib.save(nib.Nifti1Image(image, np.diag([3, 3, 4, 1])), tmp_path / "a.nii.gz")

    def probabilities(job):
        (study,) = find_studies(tmp_path / "a.nii.gz")
        load, predict, _ = job.build()
        _, predicted = predict(load(study))
        (blocks,) = predicted.sessions[0].volumes()
        return torch.cat([p for _, p in voxel_runs(blocks)], 1)

    raw = probabilities(PseudoLabelJob(config, [tmp_path / "w.pt"], tmp_path))
    config["teacher"] = {"calibration": {"_target_": "rankseg_med.calibration.Temperature", "num_classes": 3}}
    expected = raw**0.5 * torch.tensor([0.0, -1.0, 0.7]).exp()[:, None]
    found = probabilities(PseudoLabelJob(config, [tmp_path / "w.pt"], tmp_path))
    torch.testing.assert_close(found, expected / expected.sum(0), atol=2e-3, rtol=0)
    assert (found - raw).abs().max() > 0.1
    with pytest.raises(CheckpointError, match="holds no calibration; was it trained with another config"):
        PseudoLabelJob(config, [tmp_path / "without.pt"], tmp_path).build()


def test_memory_by_the_header(prediction, job, images):
    (study, _) = find_studies(images)
    voxels = 20 * 16 * 12
    alone = job.memory_needed(study)
    assert alone > GivenPrediction(prediction).memory_needed(study)
    assert job_of(prediction, exports=Exports(soft_labels=True)).memory_needed(study) - alone == 2 * 6 * voxels
