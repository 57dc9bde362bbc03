"""A config's calibration file: what is decoded, what is on record, and what is refused."""

import hashlib
import json
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from rankseg_med.calibration import CalibrationError, IsotonicCalibration, MonotoneMap, Temperature, save_calibration
from rankseg_med.configuration.calibration_file import CalibrationFile, calibration_file_of
from rankseg_med.configuration.config import ConfigError, load_config
from rankseg_med.decode import RankSEGDecoder
from rankseg_med.networks import SHIPPED_WEIGHTS
from rankseg_med.runs.run import run_job
from rankseg_med.semisupervised.voxel_runs import voxel_runs
from rankseg_med.studies import StudyError, find_probabilities, find_studies
from rankseg_med.workflows.decode import DecodeJob
from rankseg_med.workflows.predict import PredictJob
from rankseg_med.workflows.pseudo_label import PseudoLabelJob
from tests.voxels import voxels_of

LOWER = MonotoneMap((0.0, 0.6, 1.0), (0.0, 0.1, 0.8))
DEMO = SHIPPED_WEIGHTS / "demo.safetensors"


def isotonic(classes=3, independent=False):
    calibration = IsotonicCalibration(classes, independent=independent)
    calibration.set_maps([LOWER] * len(calibration.knots))
    return calibration


@pytest.fixture
def written(tmp_path):
    def write(calibration, name="calibration.json"):
        save_calibration(calibration, tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.fixture
def stored(tmp_path):
    """Probabilities of one case, and the case."""

    def write(values):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(np.zeros(values.shape[1:], np.uint8), np.eye(4)), folder / "case.nii.gz")
        np.save(folder / "case.npy", values.astype(np.float32))
        (study,) = find_probabilities(folder)
        return study

    return write


def softmax_of(classes):
    return np.random.default_rng(0).dirichlet(np.ones(classes), (9, 8, 7)).transpose(3, 0, 1, 2).astype(np.float32)


def decode_settings(calibration, **entries):
    settings = load_config("decode", None)
    settings["calibration"] = calibration
    for key, value in entries.items():
        settings[key] = value
    return settings


def labels_of(job, study):
    load, decode, write = job.build()
    written = write(decode(load(study)))
    return voxels_of(written.paths[0]), written.details


class TestDecode:
    def test_what_is_stored_is_calibrated_before_it_is_decoded(self, stored, written, tmp_path):
        values = softmax_of(3)
        job = DecodeJob(decode_settings(written(isotonic())), tmp_path / "out")
        found, details = labels_of(pickle.loads(pickle.dumps(job)), stored(values))  # noqa: S301 - as to a worker
        expected = RankSEGDecoder().decode(isotonic().probabilities(torch.from_numpy(values)))
        np.testing.assert_array_equal(found, expected.label_map.numpy())
        assert (found != RankSEGDecoder()(torch.from_numpy(values)).numpy()).any()
        content = (tmp_path / "calibration.json").read_bytes()
        assert details["calibration"] == {"kind": "isotonic", "sha256": hashlib.sha256(content).hexdigest()}

    def test_a_fresh_one_changes_nothing(self, stored, written, tmp_path):
        study = stored(softmax_of(3))
        with_one = DecodeJob(decode_settings(written(IsotonicCalibration(3))), tmp_path / "out")
        without = DecodeJob(decode_settings(None), tmp_path / "without")
        found, details = labels_of(without, study)
        np.testing.assert_array_equal(labels_of(with_one, study)[0], found)
        assert details["calibration"] is None

    def test_independent_channels(self, stored, written, tmp_path):
        values = np.random.default_rng(1).random((2, 9, 8, 7)).astype(np.float32)
        settings = decode_settings(written(isotonic(2, independent=True)), region_channels=[[1, 2], [2]])
        found, _ = labels_of(DecodeJob(settings, tmp_path / "out"), stored(values))
        calibrated = isotonic(2, independent=True).probabilities(torch.from_numpy(values))
        organ, tumour = RankSEGDecoder(mode="multilabel")(calibrated).numpy()
        np.testing.assert_array_equal(found, np.where(tumour, 2, organ))

    def test_resuming_knows_the_content_and_not_the_name(self, stored, written, tmp_path):
        study = stored(softmax_of(3))

        def status(path):
            (outcome,) = run_job(DecodeJob(decode_settings(path), tmp_path / "out"), [study])
            return outcome.status

        assert status(written(isotonic())) == "done"
        assert status(written(isotonic(), "same.json")) == "skipped"
        assert status(written(Temperature(3))) == "stale"
        assert status(None) == "stale"
        sidecar = json.loads((tmp_path / "out" / "case.json").read_text())
        assert sidecar["calibration"]["kind"] == "isotonic"

    def test_the_file_of_the_digest_is_used_whatever_becomes_of_it(self, stored, written, tmp_path):
        path = written(isotonic())
        job = DecodeJob(decode_settings(path), tmp_path / "out")
        written(IsotonicCalibration(3))
        found, _ = labels_of(job, stored(softmax_of(3)))
        expected = RankSEGDecoder()(isotonic().probabilities(torch.from_numpy(softmax_of(3))))
        np.testing.assert_array_equal(found, expected.numpy())

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (softmax_of(3) * 9 - 4, "these look like logits"),
            (np.full((3, 4, 5, 6), 0.9), "must sum to one"),
            (np.full((3, 4, 5, 6), np.nan), "got NaN"),
            (softmax_of(4), r"is of 3 exclusive classes, background included, but there are 4 exclusive classes"),
        ],
    )
    def test_what_is_no_probability_is_refused_as_ever(self, stored, written, tmp_path, values, message):
        job = DecodeJob(decode_settings(written(isotonic())), tmp_path / "out")
        study = stored(values)
        with pytest.raises(StudyError, match=message) as raised:
            job.build()[0](study)
        assert str(study.files[0]) in str(raised.value)

    @pytest.mark.parametrize(
        ("calibration", "entries", "message"),
        [
            (isotonic(4), {"label_names": ["a", "b", "c"]}, "is of 4 exclusive .*, but there are 3 exclusive classes"),
            (isotonic(2, True), {"label_names": ["a", "b"]}, "is of 2 independent channels, but there are 2 exclusive"),
            (
                Temperature(2),
                {"region_channels": [[1, 2], [2]]},
                "is of 2 exclusive .*, but there are 2 independent channels; fit one to",
            ),
        ],
    )
    def test_of_other_channels(self, written, tmp_path, calibration, entries, message):
        with pytest.raises(CalibrationError, match=rf"calibration\.json: {message}"):
            DecodeJob(decode_settings(written(calibration), **entries), tmp_path)

    def test_there_is_no_checkpoint(self, tmp_path):
        component = {"_target_": "rankseg_med.calibration.Temperature", "num_classes": 3}
        with pytest.raises(ConfigError, match="calibration: must be the path of a file, or null"):
            DecodeJob(decode_settings(component), tmp_path)


@pytest.fixture
def study(tmp_path):
    image = np.random.default_rng(0).normal(40, 100, (40, 36, 28)).astype(np.float32)
    (tmp_path / "images").mkdir()
    nib.save(nib.Nifti1Image(image, np.diag([4, 4, 5, 1])), tmp_path / "images" / "a.nii.gz")
    (study,) = find_studies(tmp_path / "images")
    return study


def predict_settings(calibration=None, **entries):
    settings = load_config("inference", "demo", device="cpu")
    settings["calibration"] = calibration
    settings["cleanup"] = None
    settings["pseudo_labeller"] = {"_target_": "rankseg_med.semisupervised.PseudoLabeller"}
    for key, value in entries.items():
        settings[key] = value
    return settings


def decoded_of(prediction_or_job, study):
    """The probabilities that wait to be decoded."""
    load, predict, _ = prediction_or_job.build()
    (session,) = predict(load(study))[1].sessions
    with session:
        (blocks,) = session.volumes()
        return torch.cat([p.clone() for _, p in voxel_runs(blocks)], 1)


class TestPredict:
    def test_probabilities_are_calibrated_before_they_are_decoded(self, study, written, tmp_path):
        plain = PredictJob(predict_settings(), [DEMO], tmp_path / "plain")
        job = PredictJob(predict_settings(written(isotonic())), [DEMO], tmp_path / "out")
        assert job.digest != plain.digest
        raw = plain.prediction().model.probabilities(study.images)
        found = decoded_of(job, study)
        torch.testing.assert_close(found, isotonic().probabilities(raw).flatten(1), atol=2e-5, rtol=0)
        # What is kept of a network is its own.
        assert torch.equal(job.prediction().model.probabilities(study.images), raw)
        load, predict, write = job.build()
        assert write(predict(load(study))).details["calibration"]["kind"] == "isotonic"

    def test_of_an_ensemble_the_mean_is_calibrated_or_each(self, study, written, tmp_path):
        for ensemble in ("mean", "decode"):
            settings = predict_settings(written(isotonic()), ensemble=ensemble)
            model = PredictJob(settings, [DEMO, DEMO], tmp_path).prediction().model
            alone = PredictJob(predict_settings(written(isotonic())), [DEMO], tmp_path)
            expected = alone.prediction().model(study.images).label_map
            assert torch.equal(model(study.images).label_map, expected)

    def test_the_digest_is_of_the_content(self, written, tmp_path):
        first, second = (
            PredictJob(predict_settings(written(isotonic(), name)), [DEMO], tmp_path).digest
            for name in ("a.json", "b.json")
        )
        assert first == second
        other = PredictJob(predict_settings(written(Temperature(3))), [DEMO], tmp_path)
        assert other.digest != first

    def test_of_other_classes(self, written, tmp_path):
        with pytest.raises(CalibrationError, match=r"is of 4 exclusive classes, .*, but there are 3 exclusive"):
            PredictJob(predict_settings(written(isotonic(4))), [DEMO], tmp_path)
        with pytest.raises(CalibrationError, match="no such calibration file"):
            PredictJob(predict_settings(str(tmp_path / "d.json")), [DEMO], tmp_path)

    def test_what_the_checkpoint_holds(self, study, tmp_path):
        network = load_config("inference", "demo", device="cpu").get_parsed_content("network_def")
        calibration = isotonic()
        path = tmp_path / "w.pt"
        torch.save({"network": network.state_dict(), "calibration": calibration.state_dict()}, path)
        component = {"_target_": "rankseg_med.calibration.IsotonicCalibration", "num_classes": 3}
        plain, own = (
            PredictJob(predict_settings(given, grid="model"), [path], tmp_path / "out") for given in (None, component)
        )
        raw = plain.prediction().model.probabilities(study.images)
        found = decoded_of(own, study)
        torch.testing.assert_close(found, calibration.probabilities(raw).flatten(1), atol=2e-5, rtol=0)
        prediction = own.prediction()
        assert prediction.label_maps.calibration == {"kind": "isotonic", "source": "checkpoint"}


class TestPseudoLabel:
    def test_a_file_takes_the_place_of_the_teachers(self, study, written, tmp_path):
        teacher = {"calibration": {"_target_": "rankseg_med.calibration.Temperature", "num_classes": 3}}
        settings = predict_settings(written(isotonic()), teacher=teacher)
        job = PseudoLabelJob(settings, [DEMO], tmp_path / "out")
        plain = PseudoLabelJob(predict_settings(), [DEMO], tmp_path / "plain")
        assert job.digest != plain.digest
        raw = decoded_of(plain, study)
        found = decoded_of(job, study)
        torch.testing.assert_close(found, isotonic().probabilities(raw), atol=5e-5, rtol=0)
        load, predict, write = job.build()
        assert write(predict(load(study))).details["calibration"]["kind"] == "isotonic"

    def test_a_component_that_is_not_the_teachers(self, tmp_path):
        component = {"_target_": "rankseg_med.calibration.Temperature", "num_classes": 3}
        with pytest.raises(ConfigError, match="write teacher::calibration or the path of a file"):
            PseudoLabelJob(predict_settings(component), [DEMO], tmp_path)


def test_paths_may_be_expressions(written):
    settings = predict_settings("$str(@folder) + '/calibration.json'")
    path = written(isotonic())
    settings["folder"] = path.removesuffix("/calibration.json")
    assert str(calibration_file_of(settings)) == CalibrationFile.read(Path(path)).sha256
