import itertools
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from monai.transforms import Compose, Orientationd, Spacingd
from safetensors.torch import load_file, save_file

from rankseg_med.cleanup import keep_largest_component
from rankseg_med.configuration.config import load_config
from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder
from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.executors import InProcess
from rankseg_med.inference import SegmentationModel, StreamingInferer
from rankseg_med.networks import SHIPPED_WEIGHTS, CheckpointError
from rankseg_med.runs.run import RunOptions, run_job
from rankseg_med.studies import Sidecar, StudyError, find_studies
from rankseg_med.transforms import KeepLargestComponent, LoadStudyd, RemoveSmallComponents
from rankseg_med.workflows.label_maps import LabelMaps
from rankseg_med.workflows.predict import Prediction, PredictJob
from tests.voxels import voxels_of
from tests.workflows.given import GivenPrediction


class BrightIsForeground(torch.nn.Module):
    """Everything denser than soft tissue is foreground: organ, spine and distractors."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-(x - 80) / 20, (x - 80) / 20], 1)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    for name, grid in {"ras": {}, "lps": {"axis_codes": "LPS"}, "sal": {"axis_codes": "SAL"}}.items():
        phantom = make_phantom(1, shape=(48, 48, 32), spacing_mm=(6.0, 6.0, 8.0), **grid)
        write_phantom(phantom, folder / "images" / f"{name}.nii.gz", folder / "labels" / f"{name}.nii.gz")
    return folder


@pytest.fixture
def prediction(tmp_path):
    preprocessing = Compose(
        [
            LoadStudyd("image"),
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", (5, 5, 5), padding_mode="border"),
        ]
    )
    inferer = StreamingInferer((24, 32, 32), overlap=0.5)
    model = SegmentationModel(preprocessing, [BrightIsForeground()], inferer, 2, RankSEGDecoder())
    return Prediction(model, LabelMaps(tmp_path / "out"))


def predict(studies, prediction, **options):
    return run_job(GivenPrediction(prediction), studies, RunOptions(**options))


def test_same_anatomy_whatever_the_stored_orientation(phantoms, prediction):
    outcomes = list(predict(find_studies(phantoms / "images"), prediction))
    assert all(outcome.error is None for outcome in outcomes)
    canonical = {}
    for outcome in outcomes:
        source, written = nib.load(outcome.case.image), nib.load(outcome.paths[0])
        np.testing.assert_array_equal(written.affine, source.affine)
        assert written.get_data_dtype() == np.uint8
        canonical[outcome.case.case_id] = nib.as_closest_canonical(written).get_fdata()
    assert 0 < canonical["ras"].mean() < 0.5
    np.testing.assert_array_equal(canonical["lps"], canonical["ras"])
    np.testing.assert_array_equal(canonical["sal"], canonical["ras"])


def test_weights_that_are_replaced_after_the_run_began_are_not_used(phantoms, tmp_path):
    """Each worker loads them when it starts, which may be much later than the run began."""
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((SHIPPED_WEIGHTS / "demo.safetensors").read_bytes())
    job = PredictJob(load_config("inference", "demo", device="cpu"), [weights], tmp_path / "out")
    job.build()
    save_file({name: values + 1 for name, values in load_file(weights).items()}, weights)
    with pytest.raises(CheckpointError, match="is not the file that it was when the run began"):
        job.build()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        list(run_job(job, find_studies(phantoms / "images")))
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    again = PredictJob(load_config("inference", "demo", device="cpu"), [weights], tmp_path / "out")
    assert again.digest != job.digest


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "codes"), [((12, 10, 8), (60, 60, 60), "RAS"), ((8, 40, 12), (60, 2, 60), "SAL")]
)
def test_memory_counts_the_grid_that_the_network_sees(tmp_path, shape, spacing_mm, codes):
    """Of voxels of 60 mm it has hundreds of times as many; 16 bytes of each were measured, and 20 are counted."""
    axes = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), shape)
    image = nib.Nifti1Image(np.zeros(shape, np.int16), np.linalg.inv(axes) @ np.diag([*spacing_mm, 1]))
    nib.save(image, tmp_path / "coarse.nii.gz")
    config = load_config("inference", "demo", device="cpu")
    job = PredictJob(config, [SHIPPED_WEIGHTS / "demo.safetensors"], tmp_path / "out")
    (study,) = find_studies(tmp_path / "coarse.nii.gz")
    seen = config.get_parsed_content("preprocessing")({"image": study.image})["image"]
    config["preprocessing"] = {"_target_": "Compose", "transforms": []}
    as_it_is = PredictJob(config, [SHIPPED_WEIGHTS / "demo.safetensors"], tmp_path / "out")
    difference = job.memory_needed(study) - as_it_is.memory_needed(study)
    assert 20 * (seen[0].numel() - np.prod(shape)) <= difference < 25 * seen[0].numel()


def test_cleanup_is_used(phantoms, prediction):
    prediction = replace(prediction, model=replace(prediction.model, decoder=ArgmaxDecoder()))
    (study,) = find_studies(phantoms / "images" / "ras.nii.gz")

    def labels(prediction: Prediction) -> np.ndarray:
        (outcome,) = predict([study], prediction, overwrite=True)
        return voxels_of(outcome.paths[0])

    everything, cleaned = (
        labels(prediction),
        labels(replace(prediction, label_maps=replace(prediction.label_maps, cleanup=KeepLargestComponent()))),
    )
    np.testing.assert_array_equal(cleaned, keep_largest_component(everything))
    assert 0 < cleaned.sum() < everything.sum()


def test_cleanup_knows_the_size_of_a_voxel(phantoms, prediction):
    """More than the whole phantom: nothing is left."""
    prediction = replace(
        prediction, label_maps=replace(prediction.label_maps, cleanup=RemoveSmallComponents(minimum_ml=1e6))
    )
    (outcome,) = predict(find_studies(phantoms / "images" / "ras.nii.gz"), prediction)
    assert outcome.error is None
    assert not voxels_of(outcome.paths[0]).any()


def test_decisions_are_written_beside_the_label_map(phantoms, prediction):
    (outcome,) = predict(find_studies(phantoms / "images" / "lps.nii.gz"), prediction)
    sidecar = json.loads(outcome.paths[0].with_name("lps.json").read_text())
    (decision,) = sidecar["decisions"]
    assert decision["voxels"] == np.count_nonzero(nib.load(outcome.paths[0]).dataobj)
    assert 0.5 < decision["argmax_expected_score"] <= decision["expected_score"] <= 1
    assert sidecar["decoder"] == repr(RankSEGDecoder())
    assert sidecar["volume_ml"]["1"] == pytest.approx(decision["voxels"] * 6 * 6 * 8 / 1000, rel=1e-6)
    assert list(sidecar["stage_seconds"]) == ["load", "predict", "write"]


def test_a_bad_study_does_not_stop_the_others(phantoms, prediction, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    good = (phantoms / "images" / "ras.nii.gz").read_bytes()
    (images / "a_truncated.nii.gz").write_bytes(good[: len(good) // 2])
    (images / "b_good.nii.gz").write_bytes(good)
    failed, succeeded = predict(find_studies(images), prediction)
    assert isinstance(failed.error, StudyError)
    assert "a_truncated.nii.gz" in str(failed.error)
    assert succeeded.error is None
    assert sorted(path.name for path in prediction.label_maps.folder.iterdir()) == [
        "a_truncated.json",
        "b_good.json",
        "b_good.nii.gz",
        "plan.json",
        "run.json",
    ]
    assert "a_truncated.nii.gz" in Sidecar.read(prediction.label_maps.folder / "a_truncated.json").error


def test_images_are_never_replaced(phantoms, prediction):
    studies = find_studies(phantoms / "images")
    with pytest.raises(StudyError, match="an output would replace an input"):
        predict(
            studies,
            replace(prediction, label_maps=replace(prediction.label_maps, folder=phantoms / "images")),
            overwrite=True,
        )


def test_the_job_of_a_config_knows_what_label_maps_depend_on(tmp_path):
    weights = SHIPPED_WEIGHTS / "demo.safetensors"

    def digest(checkpoint=weights, **entries) -> str:
        config = load_config("inference", "demo", device="cpu")
        for name, value in entries.items():
            config[name] = value
        return PredictJob(config, [checkpoint], tmp_path).digest

    copy, other = tmp_path / "copy.safetensors", tmp_path / "other.safetensors"
    copy.write_bytes(weights.read_bytes())
    other.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert digest() == digest() == digest(copy) == digest(store="disk")
    assert len({digest(), digest(other), digest(grid="model"), digest(cleanup=None)}) == 4
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        digest(tmp_path / "absent.pt")


def test_a_memory_budget_admits_one_study_after_another(phantoms, prediction):
    """Smaller than any study needs: each runs alone."""
    outcomes = list(predict(find_studies(phantoms / "images"), prediction, executor=InProcess(memory_budget=1)))
    assert [outcome.error for outcome in outcomes] == [None, None, None]


def test_a_study_whose_header_cannot_be_read_fails_alone_under_a_budget(phantoms, prediction, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a_bad.nii.gz").write_bytes(b"not a NIfTI file")
    (images / "b_good.nii.gz").write_bytes((phantoms / "images" / "ras.nii.gz").read_bytes())
    failed, succeeded = predict(find_studies(images), prediction, executor=InProcess(memory_budget=10**9))
    assert "a_bad.nii.gz" in str(failed.error)
    assert succeeded.error is None


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_other_formats_give_the_same_label_map(phantoms, prediction, suffix, tmp_path):
    source = phantoms / "images" / "lps.nii.gz"
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(source)), str(tmp_path / f"lps{suffix}"))
    label_maps = []
    for image, name in ((source, "nifti"), (tmp_path / f"lps{suffix}", "other")):
        (outcome,) = predict(
            find_studies(image), replace(prediction, label_maps=replace(prediction.label_maps, folder=tmp_path / name))
        )
        assert outcome.error is None
        label_maps.append(nib.load(outcome.paths[0]))
    np.testing.assert_array_equal(np.asarray(label_maps[0].dataobj), np.asarray(label_maps[1].dataobj))
    np.testing.assert_allclose(label_maps[0].affine, label_maps[1].affine, atol=1e-4)


class SecondChannelIsForeground(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-x[:, 1:], x[:, 1:]], 1)


def test_studies_of_several_images(prediction, tmp_path):
    volume = np.random.default_rng(0).normal(size=(12, 13, 14)).astype(np.float32)
    for channel, values in enumerate((0 * volume, volume)):
        nib.save(nib.Nifti1Image(values, np.diag([5.0, 5, 5, 1])), tmp_path / f"brain_{channel:04d}.nii.gz")
    model = replace(prediction.model, networks=[SecondChannelIsForeground()], decoder=ArgmaxDecoder())
    (study,) = find_studies(tmp_path, channels=2)
    (outcome,) = predict([study], replace(prediction, model=model))
    assert outcome.error is None
    np.testing.assert_array_equal(voxels_of(outcome.paths[0]), volume > 0)
    assert len(Sidecar.read(prediction.label_maps.folder / "brain.json").inputs) == 2


@pytest.mark.real_data
def test_a_dicom_series_is_a_study(prediction, shared_data):
    (study,) = find_studies(shared_data / "ct" / "dicom_series")
    (outcome,) = predict([study], prediction)
    assert outcome.error is None
    reference = SimpleITK.ImageSeriesReader()
    reference.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(shared_data / "ct" / "dicom_series")))
    expected, written = reference.Execute(), SimpleITK.ReadImage(str(outcome.paths[0]))
    assert written.GetSize() == expected.GetSize()
    corner = [size - 1 for size in expected.GetSize()]
    for index in ([0, 0, 0], corner):
        place = expected.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(
            sorted(
                np.linalg.norm(np.subtract(written.TransformIndexToPhysicalPoint(other), place))
                for other in itertools.product(*((0, size - 1) for size in written.GetSize()))
            )[0],
            0,
            atol=1e-2,
        )
