import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd, Spacingd

from rankseg_med.cleanup import keep_largest_component
from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder
from rankseg_med.inference import SegmentationModel, StreamingInferer
from rankseg_med.studies import StudyError, find_studies
from rankseg_med.studies.phantom import make_phantom, write_phantom
from rankseg_med.transforms import KeepLargestComponent, LoadStudyd, RemoveSmallComponents
from rankseg_med.workflows.predict import Prediction, predict


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
    return Prediction(model, None, tmp_path / "out")


def test_same_anatomy_whatever_the_stored_orientation(phantoms, prediction):
    outcomes = list(predict(find_studies(phantoms / "images"), prediction))
    assert all(outcome.error is None for outcome in outcomes)
    canonical = {}
    for outcome in outcomes:
        source, written = nib.load(outcome.item.image), nib.load(outcome.result)
        np.testing.assert_array_equal(written.affine, source.affine)
        assert written.get_data_dtype() == np.uint8
        canonical[outcome.item.case_id] = nib.as_closest_canonical(written).get_fdata()
    assert 0 < canonical["ras"].mean() < 0.5
    np.testing.assert_array_equal(canonical["lps"], canonical["ras"])
    np.testing.assert_array_equal(canonical["sal"], canonical["ras"])


def test_cleanup_is_used(phantoms, prediction):
    prediction = replace(prediction, model=replace(prediction.model, decoder=ArgmaxDecoder()))
    (study,) = find_studies(phantoms / "images" / "ras.nii.gz")

    def labels(prediction: Prediction) -> np.ndarray:
        (outcome,) = predict([study], prediction, overwrite=True)
        return np.asarray(nib.load(outcome.result).dataobj)

    everything, cleaned = labels(prediction), labels(replace(prediction, cleanup=KeepLargestComponent()))
    np.testing.assert_array_equal(cleaned, keep_largest_component(everything))
    assert 0 < cleaned.sum() < everything.sum()


def test_cleanup_knows_the_size_of_a_voxel(phantoms, prediction):
    """More than the whole phantom: nothing is left."""
    prediction = replace(prediction, cleanup=RemoveSmallComponents(minimum_ml=1e6))
    (outcome,) = predict(find_studies(phantoms / "images" / "ras.nii.gz"), prediction)
    assert outcome.error is None
    assert not np.asarray(nib.load(outcome.result).dataobj).any()


def test_decisions_are_written_beside_the_label_map(phantoms, prediction):
    (outcome,) = predict(find_studies(phantoms / "images" / "lps.nii.gz"), prediction)
    sidecar = json.loads(outcome.result.with_name("lps.json").read_text())
    (decision,) = sidecar["decisions"]
    assert decision["voxels"] == np.count_nonzero(nib.load(outcome.result).dataobj)
    assert 0.5 < decision["argmax_expected_score"] <= decision["expected_score"] <= 1
    assert sidecar["decoder"] == repr(RankSEGDecoder())


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
    assert sorted(path.name for path in prediction.output.iterdir()) == ["b_good.json", "b_good.nii.gz"]


def test_existing_label_maps_are_not_replaced_unasked(phantoms, prediction):
    studies = find_studies(phantoms / "images" / "ras.nii.gz")
    list(predict(studies, prediction))
    before = prediction.path_of(studies[0]).stat().st_mtime_ns
    with pytest.raises(StudyError, match=r"holds label maps of 1 of these studies already \(ras\)"):
        predict(studies, prediction)
    assert prediction.path_of(studies[0]).stat().st_mtime_ns == before
    assert next(predict(studies, prediction, overwrite=True)).error is None
    assert prediction.path_of(studies[0]).stat().st_mtime_ns > before


def test_images_are_never_replaced(phantoms, prediction):
    studies = find_studies(phantoms / "images")
    with pytest.raises(StudyError, match="the label map would replace an image"):
        predict(studies, replace(prediction, output=phantoms / "images"), overwrite=True)


def test_a_memory_budget_admits_one_study_after_another(phantoms, prediction):
    """Smaller than any study needs: each runs alone."""
    outcomes = list(predict(find_studies(phantoms / "images"), prediction, memory_budget=1))
    assert [outcome.error for outcome in outcomes] == [None, None, None]


def test_a_study_whose_header_cannot_be_read_fails_alone_under_a_budget(phantoms, prediction, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a_bad.nii.gz").write_bytes(b"not a NIfTI file")
    (images / "b_good.nii.gz").write_bytes((phantoms / "images" / "ras.nii.gz").read_bytes())
    failed, succeeded = predict(find_studies(images), prediction, memory_budget=10**9)
    assert "a_bad.nii.gz" in str(failed.error)
    assert succeeded.error is None
