import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from monai.transforms import Compose, Orientationd, Spacingd

from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder
from rankseg_med.inference import ProbabilityModel
from rankseg_med.studies import StudyError, find_studies
from rankseg_med.studies.phantom import make_phantom, write_phantom
from rankseg_med.transforms import KeepLargestComponent, LoadStudyd
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
    model = ProbabilityModel(preprocessing, BrightIsForeground(), SimpleInferer(), 2)
    return Prediction(model, RankSEGDecoder(), None, tmp_path / "out")


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


def test_decoder_and_cleanup_are_used(phantoms, prediction):
    image = phantoms / "images" / "ras.nii.gz"
    probabilities = prediction.model(image)
    assert torch.equal(prediction.decode(image).label_map, RankSEGDecoder()(probabilities))
    by_argmax = replace(prediction, decoder=ArgmaxDecoder()).decode(image).label_map
    assert torch.equal(by_argmax.long(), probabilities.argmax(0))
    cleaned = replace(prediction, decoder=ArgmaxDecoder(), cleanup=KeepLargestComponent()).decode(image).label_map
    assert 0 < cleaned.sum() < by_argmax.sum()


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
