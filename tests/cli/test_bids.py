"""`rankseg-med predict` and `decode` to a BIDS derivative data set, and what is done with one."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.demo import make_phantom, write_phantom
from rankseg_med.studies import Sidecar
from tests.evaluation.run_report.report_folders import studies_in
from tests.voxels import voxels_of

VALIDATOR = shutil.which("bids-validator-deno", path=Path(sys.executable).parent) or shutil.which("bids-validator-deno")

PREDICT = ("--config", "demo", "--checkpoint", "demo", "--device", "cpu")
BIDS = (*PREDICT, "--layout", "bids")
CASES = {"sub-01_ses-2_T1w": "sub-01/ses-2/anat/sub-01_ses-2", "sub-02_acq-x_T1w": "sub-02/anat/sub-02_acq-x"}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Two images in a BIDS tree; their references, flat."""
    folder = tmp_path_factory.mktemp("phantoms")
    for seed, (case_id, name) in enumerate(CASES.items()):
        phantom = make_phantom(700 + seed, shape=(48, 48, 32), spacing_mm=(6.0, 6.0, 8.0))
        image = folder / "raw" / Path(name).parent / f"{case_id}.nii.gz"
        write_phantom(phantom, image, folder / "labels" / f"{case_id}.nii.gz")
    return folder


@pytest.fixture
def images(phantoms):
    return phantoms / "raw" / "sub-*" / "**" / "*_T1w.nii.gz"


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def scores_in(folder):
    with (folder / "scores.csv").open() as stream:
        return list(csv.reader(stream))


def is_valid(dataset) -> bool:
    """Whether BIDS's validator has no error, and no warning but that it does not know who the authors are."""
    said = subprocess.run([VALIDATOR, dataset, "--format", "json"], capture_output=True, text=True, check=False)
    issues = json.loads(said.stdout)["issues"]["issues"]
    assert {issue["code"] for issue in issues} <= {"TOO_FEW_AUTHORS"}, said.stdout
    return said.returncode == 0


def test_predict_and_all_that_comes_after(rankseg_med, phantoms, images, tmp_path):
    """Label maps, scores and report are those of the flat layout, which other tests hold to be right."""
    flat, out = tmp_path / "flat", tmp_path / "out"
    assert rankseg_med("predict", images, *PREDICT, "-o", flat).code == 0
    command = ("predict", images, *BIDS, "--probabilities", "-o", out)
    result = rankseg_med(*command)
    assert (result.code, f"2 of 2 studies done in {out}" in result.out) == (0, True), result.err
    ends = ("dseg.nii.gz", "dseg.json", "probseg.nii.gz", "probseg.json")
    assert files_in(out) == {
        *(f"{name}_{end}" for name in CASES.values() for end in ends),
        *(f"logs/{name}.json" for name in (*CASES, "run", "plan")),
        *("dataset_description.json", "README.md", "dseg.tsv", "dseg.json"),
    }
    for case_id, name in CASES.items():
        np.testing.assert_array_equal(voxels_of(out / f"{name}_dseg.nii.gz"), voxels_of(flat / f"{case_id}.nii.gz"))
        background = 1 - nib.load(out / f"{name}_probseg.nii.gz").get_fdata().sum(-1)
        assert -1e-4 < background.min() < background.max() <= 1
    record = Sidecar.read(out / "logs" / "sub-01_ses-2_T1w.json")
    assert next(iter(record.outputs)) == "../sub-01/ses-2/anat/sub-01_ses-2_dseg.nii.gz"
    assert "2 of them before" in rankseg_med(*command).out
    assert rankseg_med("status", out).code == 0
    for predicted in (flat, out):
        assert (
            rankseg_med("evaluate", predicted, phantoms / "labels", "-o", tmp_path / f"of_{predicted.name}").code == 0
        )
    assert scores_in(tmp_path / "of_out") == scores_in(tmp_path / "of_flat")
    assert rankseg_med("compare", tmp_path / "of_flat", tmp_path / "of_out").code == 0
    report = rankseg_med("report", out)
    assert (report.code, "no picture" in report.out) == (0, False)
    assert all(study["slices"] for study in studies_in(out / "logs" / "report.html").values())
    assert rankseg_med("report", tmp_path / "of_out").code == 0
    studies = studies_in(tmp_path / "of_out" / "report.html")
    assert studies.keys() == CASES.keys()
    for study in studies.values():
        assert study["slices"], study["notes"]
        assert "organ: expected Dice" in study["values"]
    if VALIDATOR:
        assert is_valid(out)


@pytest.mark.skipif(VALIDATOR is None, reason="needs BIDS's validator: pip install bids-validator-deno==3.0.2")
def test_bids_validator(rankseg_med, phantoms, tmp_path):
    """Of data sets of several kinds of names, and that it would find a fault."""
    for name in ("pet/sub-1_trc-FDG_run-1_pet", "anat/sub-2_desc-p_res-hi_T1w", "Müller 3", "dwi/sub-4_dir-AP_dwi"):
        image = tmp_path / "images" / f"{name}.nii.gz"
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(next(phantoms.glob("raw/sub-01/**/*.nii.gz")), image)
    command = ("predict", tmp_path / "images" / "**" / "*.nii.gz", *BIDS, "-o", tmp_path / "out")
    result = rankseg_med(*command, "--probabilities", "--report")
    assert result.code == 0, result.err
    assert (tmp_path / "out" / "sub-4" / "dwi" / "sub-4_dir-AP_dseg.nii.gz").exists()
    assert is_valid(tmp_path / "out")
    (tmp_path / "out" / "sub-4" / "dwi" / "sub-4_dseg_T1w.txt").write_text("")
    with pytest.raises(AssertionError):
        is_valid(tmp_path / "out")


def test_interrupted(rankseg_med, phantoms, images, tmp_path):
    """As a run leaves it that is killed between two files of a study."""
    out, command = tmp_path / "out", ("predict", images, *BIDS, "-o", tmp_path / "out")
    assert rankseg_med(*command).code == 0
    before = files_in(out)
    record = Sidecar.read(out / "logs" / "sub-01_ses-2_T1w.json")
    record.model_copy(update={"status": "started", "outputs": {}}).write(out / "logs")
    (out / "sub-01/ses-2/anat/sub-01_ses-2_dseg.json").unlink()
    assert rankseg_med("status", out).code == 1
    # What is written is whole, and scored under its id, as in the flat layout.
    scored = rankseg_med("evaluate", out, phantoms / "labels", "-o", tmp_path / "scores")
    assert (scored.code, "failed" in scored.err) == (0, False), scored.err
    result = rankseg_med(*command)
    assert (result.code, "(1 of them before)" in result.out) == (0, True)
    assert files_in(out) == before
    # A changed file shows, and is the user's.
    (out / "sub-01/ses-2/anat/sub-01_ses-2_dseg.json").write_text("{}")
    changed = rankseg_med(*command)
    assert (changed.code, "sub-01_ses-2_dseg.json has 2 bytes" in changed.out) == (1, True)
    assert rankseg_med(*command, "--overwrite").code == 0


def test_shards(rankseg_med, images, tmp_path):
    for shard in ("1/2", "2/2"):
        assert rankseg_med("predict", images, *BIDS, "-o", tmp_path, "--shard", shard).code == 0
    assert {f"{name}_dseg.nii.gz" for name in CASES.values()} < files_in(tmp_path)
    assert {"logs/run-1-of-2.json", "logs/run-2-of-2.json", "logs/plan.json"} < files_in(tmp_path)
    assert rankseg_med("status", tmp_path).code == 0


def test_probabilities_later(rankseg_med, images, tmp_path):
    command = ("predict", images, *BIDS, "-o", tmp_path)
    assert rankseg_med(*command).code == 0
    later = rankseg_med(*command, "--probabilities")
    assert (later.code, "before" in later.out) == (0, False)
    assert len(list(tmp_path.rglob("*_probseg.nii.gz"))) == 2


def test_references_of_a_data_set_are_paired_by_name(rankseg_med, phantoms, images, tmp_path):
    assert rankseg_med("predict", images, *BIDS, "-o", tmp_path / "out").code == 0
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "dataset_description.json").write_text("{}")
    for case_id, name in CASES.items():
        path = tmp_path / "references" / f"{name}_dseg.nii.gz"
        path.parent.mkdir(parents=True)
        shutil.copy(phantoms / "labels" / f"{case_id}.nii.gz", path)
    for references in ("flat", "references"):
        folder = phantoms / "labels" if references == "flat" else tmp_path / references
        assert rankseg_med("evaluate", tmp_path / "out", folder, "-o", tmp_path / f"of_{references}").code == 0
    assert scores_in(tmp_path / "of_references") == scores_in(tmp_path / "of_flat")


@pytest.fixture
def stored(tmp_path):
    """Probabilities of three classes, as an array, and the image that says where they lie."""
    values = np.random.default_rng(3).dirichlet((3, 1, 1), size=(9, 8, 7)).transpose(3, 0, 1, 2).astype(np.float32)
    (tmp_path / "probabilities").mkdir()
    np.save(tmp_path / "probabilities" / "sub-7_T1w.npy", values)
    image = tmp_path / "raw" / "sub-7" / "anat" / "sub-7_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    nib.Nifti1Image(np.zeros((9, 8, 7), np.int16), np.diag([1, 2, 3, 1])).to_filename(image)
    (tmp_path / "names.yaml").write_text("label_names: [background, liver, tumour]\n")
    return values


def test_decode(rankseg_med, stored, tmp_path):
    command = ("decode", tmp_path / "probabilities", "--images", tmp_path / "raw/sub-7/anat", "--layout", "bids")
    nameless = rankseg_med(*command, "-o", tmp_path / "out")
    assert (nameless.code, "BIDS must name every structure" in nameless.err) == (1, True)
    assert not (tmp_path / "out").exists()
    command = (*command, "--config", tmp_path / "names.yaml", "-o", tmp_path / "out")
    result = rankseg_med(*command, "--probabilities")
    assert result.code == 0, result.err
    found = nib.load(tmp_path / "out" / "sub-7" / "anat" / "sub-7_probseg.nii.gz")
    np.testing.assert_allclose(found.get_fdata().transpose(3, 0, 1, 2), stored[1:], rtol=0, atol=1e-4)
    said = json.loads((tmp_path / "out" / "sub-7" / "anat" / "sub-7_dseg.json").read_text())
    link = f"bids:{tmp_path.name.replace('_', '')}"
    assert said["Sources"] == [f"{link}:probabilities/sub-7_T1w.npy", f"{link}:raw/sub-7/anat/sub-7_T1w.nii.gz"]
    refused = rankseg_med(*command, "--probabilities", "--decoder", "argmax")
    assert (refused.code, "needs probabilities of exclusive classes" in refused.err) == (1, True)


def test_decode_of_files_that_have_no_image(rankseg_med, stored, tmp_path):
    volume = nib.Nifti1Image(stored.transpose(1, 2, 3, 0), np.diag([1, 2, 3, 1]))
    volume.to_filename(tmp_path / "liver_1.nii.gz")
    command = ("decode", tmp_path / "liver_1.nii.gz", "--config", tmp_path / "names.yaml", "-o", tmp_path / "out")
    result = rankseg_med(*command, "--layout", "bids", "--probabilities")
    assert result.code == 0, result.out
    found = nib.load(tmp_path / "out" / "sub-liver1" / "anat" / "sub-liver1_probseg.nii.gz")
    np.testing.assert_allclose(found.get_fdata().transpose(3, 0, 1, 2), stored[1:], rtol=0, atol=1e-4)


def test_no_flat_label_maps_in_a_data_set(rankseg_med, images, tmp_path):
    flat, out = tmp_path / "flat", tmp_path / "out"
    assert rankseg_med("predict", images, *BIDS, "-o", out).code == 0
    assert rankseg_med("predict", images, *PREDICT, "-o", flat).code == 0
    before = files_in(tmp_path)
    refused = rankseg_med("predict", images, *PREDICT, "-o", out), rankseg_med("predict", images, *BIDS, "-o", flat)
    assert [result.code for result in refused] == [1, 1]
    assert "is a BIDS data set" in refused[0].err
    assert "label maps that are no data set" in refused[1].err
    assert files_in(tmp_path) == before


def test_somebody_elses_data_set(rankseg_med, images, tmp_path):
    (tmp_path / "dataset_description.json").write_text('{"Name": "Mine", "BIDSVersion": "1.8.0"}')
    result = rankseg_med("predict", images, *BIDS, "-o", tmp_path)
    assert (result.code, "describes another data set, 'Mine'" in result.err) == (1, True)
    assert files_in(tmp_path) == {"dataset_description.json"}


def test_studies_that_would_have_one_name(rankseg_med, phantoms, tmp_path):
    image = next(phantoms.glob("raw/sub-01/**/*.nii.gz"))
    for name in ("liver_12", "liver-12", "c"):
        (tmp_path / f"{name}.nii.gz").symlink_to(image)
    result = rankseg_med("predict", tmp_path, *BIDS, "-o", tmp_path / "out", "--shard", "1/3")
    assert (result.code, "liver-12 and liver_12 would both be sub-liver12/anat/" in result.err) == (1, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--probabilities",), 2, "--probabilities is an option of --layout bids"),
        (("--layout", "bids", "--format", "dicom-seg"), 2, "--layout bids holds NIfTI, and not --format dicom-seg"),
        (("--layout", "bids", "--format", "rtstruct"), 2, "--layout bids holds NIfTI"),
        (("--layout", "bids", "--seg-type", "fractional"), 2, "--seg-type is an option of --format dicom-seg"),
        (("--layout", "bids", "--probabilities", "--decoder", "argmax"), 1, "needs a network of a config"),
        (("--layout", "bids", "-o", "one.nii.gz"), 2, "a BIDS data set is a folder"),
    ],
)
def test_wrong_options(rankseg_med, images, tmp_path, monkeypatch, options, code, message):
    monkeypatch.chdir(tmp_path)
    result = rankseg_med("predict", images, *PREDICT, "-o", "out", *options)
    assert (result.code, message in " ".join((result.out + result.err).split())) == (code, True), result.err
    assert not list(tmp_path.rglob("*.nii.gz"))
