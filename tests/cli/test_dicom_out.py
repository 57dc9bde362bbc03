"""`rankseg-med predict` and `decode` of DICOM series, to DICOM."""

import json
import re

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest

from rankseg_med.studies import load_image
from tests.studies.dicom_scenes import write_scene


@pytest.fixture
def studies(tmp_path):
    for case, kind in (("a", "oblique"), ("b", "feet first")):
        write_scene(tmp_path / "studies" / case, kind, shape=(40, 36, 20), spacing_mm=(2, 2.5))
    return tmp_path / "studies"


PREDICT = ("--config", "demo", "--checkpoint", "demo")


def test_predict(rankseg_med, studies, tmp_path):
    assert rankseg_med("predict", studies, *PREDICT, "-o", tmp_path / "nifti").code == 0
    command = ("predict", studies, *PREDICT, "-o", tmp_path / "out", "--format", "dicom-seg")
    result = rankseg_med(*command, "--report")
    assert (result.code, "2 of 2 studies done" in result.out) == (0, True), result.err
    for case in "ab":
        nifti = nib.load(tmp_path / "nifti" / f"{case}.nii.gz")
        wanted = hd.Volume(
            np.asarray(nifti.dataobj), np.diag([-1, -1, 1, 1]) @ nifti.affine, coordinate_system="PATIENT"
        )
        found = hd.seg.segread(tmp_path / "out" / f"{case}.dcm").get_volume(combine_segments=True)
        np.testing.assert_array_equal(found.match_geometry(wanted, tol=1e-3).array, wanted.array)
        sidecar = json.loads((tmp_path / "out" / f"{case}.json").read_text())
        assert list(sidecar["outputs"]) == [f"{case}.dcm"]
        assert sidecar["outputs"][f"{case}.dcm"]["size_bytes"] == (tmp_path / "out" / f"{case}.dcm").stat().st_size
        assert "DicomSegFormat" in sidecar["settings"]["format"]
    assert not (tmp_path / "out" / "dseg.tsv").exists()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    facts = json.loads(re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)[1])
    for study in facts["studies"]:
        assert study["slices"][0]["caption"].startswith("Largest cross-section of organ"), study["notes"]
        assert study["volumes"]
        assert not study["notes"]
    again = rankseg_med(*command)
    assert (again.code, "2 of them before" in again.out) == (0, True)
    other = rankseg_med(*command, "--seg-type", "labelmap")
    assert (other.code, "2 stale" in other.out) == (1, True)


def test_another_format_in_the_same_folder_is_stale(rankseg_med, studies, tmp_path):
    command = ("predict", studies, *PREDICT, "-o", tmp_path / "out")
    assert rankseg_med(*command).code == 0
    before = (tmp_path / "out" / "a.json").read_bytes()
    other = rankseg_med(*command, "--format", "rtstruct")
    assert (other.code, "2 stale" in other.out) == (1, True)
    assert (tmp_path / "out" / "a.json").read_bytes() == before
    assert not (tmp_path / "out" / "a.dcm").exists()


def test_one_study_to_a_file(rankseg_med, studies, tmp_path):
    options = ("--format", "rtstruct", "-o", tmp_path / "new.dcm")
    assert rankseg_med("predict", studies / "a", *PREDICT, *options).code == 0
    assert pydicom.dcmread(tmp_path / "new.dcm").Modality == "RTSTRUCT"
    wrong = rankseg_med("predict", studies / "a", *PREDICT, "-o", tmp_path / "new.dcm")
    assert (wrong.code, ".nii.gz" in wrong.err) == (2, True)


def test_a_study_that_is_no_series_fails_before_the_network_runs(rankseg_med, studies, tmp_path):
    image = load_image(studies / "a")
    nib.Nifti1Image(image[0].numpy(), image.affine.numpy()).to_filename(tmp_path / "c.nii.gz")
    (tmp_path / "list.csv").write_text("case_id,image\na,studies/a\nc,c.nii.gz\n")
    result = rankseg_med("predict", tmp_path / "list.csv", *PREDICT, "-o", tmp_path / "out", "--format", "dicom-seg")
    assert (result.code, "1 of 2 studies done" in result.out) == (1, True)
    assert "failed: c: " in result.out
    assert "must be a folder of one DICOM series to be segmented as DICOM-SEG" in result.out
    assert (tmp_path / "out" / "a.dcm").exists()


def test_decode(rankseg_med, studies, tmp_path):
    rng = np.random.default_rng(3)
    values = rng.dirichlet((3, 1, 1), size=(40, 36, 20)).transpose(3, 0, 1, 2).astype(np.float32)
    (tmp_path / "probabilities").mkdir()
    np.save(tmp_path / "probabilities" / "a.npy", values)
    command = (
        "decode",
        tmp_path / "probabilities",
        "--images",
        studies,
        "--decoder",
        "argmax",
        "--format",
        "dicom-seg",
    )
    nameless = rankseg_med(*command, "-o", tmp_path / "out")
    assert (nameless.code, "DICOM-SEG must name every structure" in nameless.err) == (1, True)
    (tmp_path / "names.yaml").write_text("label_names: [background, liver, tumour]\n")
    result = rankseg_med(*command, "-o", tmp_path / "out", "--config", tmp_path / "names.yaml")
    assert result.code == 0, result.out + result.err
    found = hd.seg.segread(tmp_path / "out" / "a.dcm").get_volume(combine_segments=True)
    affine = np.diag([-1, -1, 1, 1]) @ load_image(studies / "a").affine.numpy()
    wanted = hd.Volume(values.argmax(0).astype(np.uint8), affine, coordinate_system="PATIENT")
    np.testing.assert_array_equal(found.match_geometry(wanted, tol=1e-3).array, wanted.array)


def test_fractional(rankseg_med, studies, tmp_path):
    options = ("--format", "dicom-seg", "--seg-type", "fractional", "-o", tmp_path / "out")
    predicted = rankseg_med("predict", studies, *PREDICT, *options)
    assert (predicted.code, "2 of 2 studies done" in predicted.out) == (0, True), predicted.out
    segmentation = pydicom.dcmread(tmp_path / "out" / "a.dcm")
    assert segmentation.SegmentationType == "FRACTIONAL"
    assert [item.SegmentLabel for item in segmentation.SegmentSequence] == ["organ", "tumour"]


def test_fractional_of_stored_probabilities(rankseg_med, studies, tmp_path):
    values = np.random.default_rng(3).dirichlet((3, 1, 1), size=(40, 36, 20)).transpose(3, 0, 1, 2).astype(np.float32)
    (tmp_path / "probabilities").mkdir()
    np.save(tmp_path / "probabilities" / "a.npy", values)
    (tmp_path / "names.yaml").write_text("label_names: [background, liver, tumour]\n")
    options = ("--format", "dicom-seg", "--seg-type", "fractional", "--config", tmp_path / "names.yaml")
    command = ("decode", tmp_path / "probabilities", "--images", studies, *options, "-o", tmp_path / "out")
    assert rankseg_med(*command).code == 0
    found = hd.seg.segread(tmp_path / "out" / "a.dcm").get_volume()
    affine = np.diag([-1, -1, 1, 1]) @ load_image(studies / "a").affine.numpy()
    wanted = hd.Volume(values[0], affine, coordinate_system="PATIENT")
    np.testing.assert_allclose(
        found.match_geometry(wanted, tol=1e-3).array.transpose(3, 0, 1, 2), values[1:], atol=0.51 / 255
    )
    refused = rankseg_med(*command, "--decoder", "argmax")
    assert (refused.code, "needs probabilities of exclusive classes" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--seg-type", "labelmap"), 2, "--seg-type is an option of --format dicom-seg"),
        (("--format", "dicom-seg", "--set", "structures={tumor: {colour: [1, 2, 3]}}"), 1, "there is no 'tumor'"),
        (("--format", "dicom-seg", "--set", "structures={tumour: {colour: red}}"), 1, "structures: tumour::colour"),
        (("--format", "dicom"), 2, "dicom-seg"),
        (("--format", "dicom-seg", "--seg-type", "fractional", "--grid", "model"), 1, "needs a network of a config"),
    ],
)
def test_wrong_options(rankseg_med, studies, tmp_path, options, code, message):
    result = rankseg_med("predict", studies, *PREDICT, "-o", tmp_path / "out", *options)
    assert result.code == code
    assert message in result.out + result.err
