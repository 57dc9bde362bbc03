"""demo, manifest, evaluate and the program itself."""

import csv
import json
import subprocess
import sys
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest

from rankseg_med import __version__


def test_python_dash_m_is_the_program():
    printed = subprocess.run(
        [sys.executable, "-m", "rankseg_med", "--version"], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == __version__


def test_help_lists_the_commands(rankseg_med):
    result = rankseg_med("--help")
    assert result.code == 0
    for command in ("demo", "predict", "evaluate", "compare", "cleanup-search", "manifest", "train"):
        assert command in result.out


@dataclass
class Folders:
    images: object
    labels: object


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    folders = Folders(tmp_path / "images", tmp_path / "labels")
    for folder in (folders.images, folders.labels):
        folder.mkdir()
    for index in range(6):
        image = nib.Nifti1Image(rng.normal(size=(6, 7, 8)).astype(np.float32), np.diag([1, 1, 2, 1]))
        labels = np.zeros((6, 7, 8), np.uint8)
        labels[1:4, 1:4, 1:4] = 1
        labels[4, 4, 4] = 2
        nib.save(image, folders.images / f"case_{index}.nii.gz")
        nib.save(nib.Nifti1Image(labels, image.affine), folders.labels / f"case_{index}.nii.gz")
    return folders


def test_manifest_and_evaluate(rankseg_med, pairs, tmp_path):
    manifest = tmp_path / "list.json"
    result = rankseg_med(
        *("manifest", pairs.images, pairs.labels, "--output", manifest),
        *("--folds", 3, "--seed", 1, "--labels", "1=anterior,2=posterior"),
    )
    assert result.code == 0
    assert "6 studies in 3 folds" in result.out
    content = json.loads(manifest.read_text())
    assert content["labels"] == {"0": "background", "1": "anterior", "2": "posterior"}
    assert content["training"][0]["image"] == "images/case_0.nii.gz"

    scores = tmp_path / "scores"
    result = rankseg_med("evaluate", pairs.labels, manifest, "--labels", "1=anterior,2=posterior", "--output", scores)
    assert result.code == 0
    assert "anterior" in result.out
    rows = list(csv.DictReader((scores / "scores.csv").open()))
    assert len(rows) == 12
    assert {row["dice"] for row in rows} == {"1.0"}
    assert json.loads((scores / "summary.json").read_text())["n_failed"] == 0


def test_evaluate_names_missing_and_mismatching_cases(rankseg_med, pairs, tmp_path):
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    for index in range(4):
        labels = nib.load(pairs.labels / f"case_{index}.nii.gz")
        affine = np.diag([1, 1, 3, 1]) if index == 3 else labels.affine
        nib.save(nib.Nifti1Image(np.asarray(labels.dataobj), affine), predictions / f"case_{index}.nii.gz")
    nib.save(nib.load(pairs.labels / "case_0.nii.gz"), predictions / "stranger.nii.gz")
    result = rankseg_med("evaluate", predictions, pairs.labels, "--labels", "1=a,2=b", "--output", tmp_path / "scores")
    assert result.code == 1
    for case in ("case_3", "case_4", "case_5", "stranger"):
        assert f"failed: {case}: " in result.err
    assert "spacing" in result.err
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert (summary["n_scored"], summary["n_failed"]) == (3, 4)


def test_evaluate_by_a_preset(rankseg_med, pairs):
    result = rankseg_med("evaluate", pairs.labels, pairs.labels, "--preset", "lits")
    assert result.code == 0
    for text in ("liver", "lesion_recall", "LiTS (corrected)"):
        assert text in result.out


def test_evaluate_draws_the_worst_cases(rankseg_med, pairs, tmp_path):
    """Of two cases the small structure is missed, and of one of these there is no image."""
    for index in (2, 4):
        labels = nib.load(pairs.labels / f"case_{index}.nii.gz")
        (tmp_path / "predictions").mkdir(exist_ok=True)
        halved = np.asarray(labels.dataobj) * (np.arange(8) < 2 + index // 4)
        nib.save(
            nib.Nifti1Image(halved.astype(np.uint8), labels.affine), tmp_path / "predictions" / f"case_{index}.nii.gz"
        )
    (pairs.images / "case_4.nii.gz").unlink()
    lines = [f"case_{index},images/case_{index}.nii.gz,labels/case_{index}.nii.gz" for index in (2, 4)]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.csv").write_text("\n".join(["case_id,image,label", *lines]))
    list_options = (tmp_path / "lists" / "list.csv", "--data-root", tmp_path)
    options = ("--labels", "1=a,2=b", "--output", tmp_path / "scores")
    for images in ((pairs.images,), list_options):
        arguments = (tmp_path / "predictions", *list_options, *options, "--overlays", 2)
        result = rankseg_med("evaluate", *arguments, "--images", images[0])
        assert result.code == 0, result.err
        assert [path.name for path in (tmp_path / "scores" / "overlays").iterdir()] == ["worst_01_case_2.png"]
        assert "overlays/worst_01_case_2.png" in result.out.replace("\n", "")
        assert "warning: case_4: no overlay: " in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--overlays", "2"), "--overlays needs --output"),
        (("--overlays", "0", "--output", "scores"), "greater than or equal to 1"),
        (("--images", "images", "--output", "scores"), "--images needs --overlays"),
        (("--overlays", "2", "--output", "scores", "--shard", "1/2"), "give it to the run that gathers"),
        (("--overlays", "2", "--output", "scores", "--images", "nowhere"), "nowhere: must be an existing image"),
    ],
)
def test_overlays_that_cannot_be_drawn_are_refused_at_once(rankseg_med, pairs, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = rankseg_med("evaluate", pairs.labels, pairs.labels, "--labels", "1=a", *options)
    assert result.code != 0
    assert message in " ".join((result.out + result.err).replace("│", " ").split())
    assert not (tmp_path / "scores").exists()


def test_evaluate_takes_a_csv_lists_labels(rankseg_med, pairs, tmp_path):
    """Images of whole numbers would pass for label maps."""
    for path in pairs.images.iterdir():
        nib.save(nib.Nifti1Image(np.full((6, 7, 8), 1, np.uint8), np.diag([1, 1, 2, 1])), path)
    lines = [f"case_{index},images/case_{index}.nii.gz,labels/case_{index}.nii.gz" for index in range(6)]
    (tmp_path / "list.csv").write_text("\n".join(["case_id,image,label", *lines]))
    options = ("--labels", "1=a,2=b", "--output", tmp_path / "scores")
    result = rankseg_med("evaluate", pairs.labels, tmp_path / "list.csv", *options)
    assert result.code == 0
    assert {row["dice"] for row in csv.DictReader((tmp_path / "scores" / "scores.csv").open())} == {"1.0"}
    refused = rankseg_med("evaluate", tmp_path / "list.csv", pairs.labels, *options)
    assert (refused.code, "is a data list" in refused.err) == (1, True)


def test_evaluate_fails_where_a_preset_does_not_know_a_label(rankseg_med, pairs, tmp_path):
    labels = nib.load(pairs.labels / "case_0.nii.gz")
    voxels = np.asarray(labels.dataobj).copy()
    voxels[4, 4, 4] = 4
    (tmp_path / "brats").mkdir()
    nib.save(nib.Nifti1Image(voxels, labels.affine), tmp_path / "brats" / "case.nii.gz")
    folders = (tmp_path / "brats", tmp_path / "brats")
    ambiguous = rankseg_med("evaluate", *folders, "--preset", "brats")
    assert ambiguous.code != 0
    assert all(name in ambiguous.err for name in ("brats2020", "brats2023", "brats-nnunet"))
    wrong = rankseg_med("evaluate", *folders, "--preset", "brats2023")
    assert wrong.code == 1
    assert "failed: case: " in wrong.err
    assert "would be labels of the preset brats2020" in wrong.err
    assert rankseg_med("evaluate", *folders, "--preset", "brats2020").code == 0


def test_evaluate_regions_and_metrics(rankseg_med, pairs):
    options = ("--regions", "whole=1+2,part=2", "--metrics", "dice,assd_mm")
    result = rankseg_med("evaluate", pairs.labels, pairs.labels, *options)
    assert result.code == 0
    assert "whole" in result.out
    assert "HD95" not in result.out


@pytest.mark.parametrize("regions", ["whole", "whole=", "whole=1+x", "whole=0+1", "a=1,a=2", "a=256"])
def test_regions_that_cannot_be_read(rankseg_med, pairs, regions):
    result = rankseg_med("evaluate", pairs.labels, pairs.labels, "--regions", regions)
    assert result.code == 2
    assert "regions" in result.err or "labels" in result.err


def test_manifest_names_every_bad_pair_and_writes_nothing(rankseg_med, pairs, tmp_path):
    (pairs.labels / "case_1.nii.gz").unlink()
    (pairs.images / "case_2.nii.gz").unlink()
    nib.save(nib.Nifti1Image(np.zeros((6, 7, 9), np.uint8), np.diag([1, 1, 2, 1])), pairs.labels / "case_3.nii.gz")
    result = rankseg_med("manifest", pairs.images, pairs.labels, "--output", tmp_path / "list.json")
    assert result.code == 1
    for case in ("case_1", "case_2", "case_3"):
        assert case in result.err
    assert not (tmp_path / "list.json").exists()


@pytest.mark.parametrize("labels", ["anterior", "1=", "0=background", "1=a,1=b", "1=a,2=a", "256=x"])
def test_labels_that_cannot_be_read(rankseg_med, pairs, labels):
    result = rankseg_med("evaluate", pairs.labels, pairs.labels, "--labels", labels)
    assert result.code == 2
    assert "labels" in result.err


@pytest.mark.slow  # as the README's beginning runs it, with more looked at
def test_demo(rankseg_med, tmp_path):
    result = rankseg_med("demo", "--output", tmp_path / "demo", "--device", "cpu")
    assert result.code == 0
    assert "The network has only ever seen such phantoms" in result.out
    for text in ("argmax", "RankSEG Dice", "organ", "tumour", "Dice", "IoU", "HD95", "ASD"):
        assert text in result.out
    for case in ("canonical", "stored_lps", "oblique"):
        assert (tmp_path / "demo" / "overlays" / f"{case}.png").read_bytes().startswith(b"\x89PNG")
        image = nib.load(tmp_path / "demo" / "images" / f"{case}.nii.gz")
        for decoder in ("argmax", "dice"):
            labels = nib.load(tmp_path / "demo" / "predictions" / decoder / f"{case}.nii.gz")
            np.testing.assert_array_equal(labels.affine, image.affine)
    codes = nib.aff2axcodes(nib.load(tmp_path / "demo" / "images" / "stored_lps.nii.gz").affine)
    assert codes == ("L", "P", "S")
    oblique = nib.load(tmp_path / "demo" / "images" / "oblique.nii.gz").affine[:3, :3]
    assert np.count_nonzero(np.abs(oblique) > 0.05) == 9
    summary = json.loads((tmp_path / "demo" / "scores" / "dice" / "summary.json").read_text())
    assert summary["n_scored"] == 3
    assert summary["regions"]["organ"]["dice"]["mean"] > 0.9
    assert summary["regions"]["tumour"]["dice"]["mean"] > 0.5
