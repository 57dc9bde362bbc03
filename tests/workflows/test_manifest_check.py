import json

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.workflows.manifest_check import ManifestCheck, check_manifest


@pytest.fixture
def data(tmp_path):
    """Three sound pairs, a to c, and a list of them."""
    for case in "abc":
        for kind, dtype in (("images", np.int16), ("labels", np.uint8)):
            (tmp_path / kind).mkdir(exist_ok=True)
            nib.Nifti1Image(np.zeros((3, 4, 5), dtype), np.eye(4)).to_filename(tmp_path / kind / f"{case}.nii.gz")
    rows = [{"image": f"images/{case}.nii.gz", "label": f"labels/{case}.nii.gz"} for case in "abc"]
    write(tmp_path, rows)
    return tmp_path, rows


def write(folder, rows):
    document = {"name": "x", "labels": {"0": "background"}, "training": rows}
    (folder / "list.json").write_text(json.dumps(document))


def test_nothing_is_wrong(data):
    folder, _ = data
    assert check_manifest(folder / "list.json") == ManifestCheck(3, ())
    assert check_manifest(folder / "images") == ManifestCheck(3, ())
    assert check_manifest(folder / "images" / "*.nii.gz") == ManifestCheck(3, ())


def test_everything_wrong_is_named_at_once(data):
    folder, rows = data
    (folder / "images/a.nii.gz").unlink()
    (folder / "labels/a.nii.gz").write_bytes(b"")
    nib.Nifti1Image(np.zeros((3, 4, 6), np.uint8), np.eye(4)).to_filename(folder / "labels/b.nii.gz")
    write(
        folder,
        [
            *rows,
            {"image": "/d.nii.gz", "label": "labels/d.nii.gz"},
            {"image": "images/c.nii.gz", "label": "labels/e.nii.gz", "id": "../e"},
            {"image": "images/f/c.nii.gz", "label": "labels/f.nii.gz"},
        ],
    )
    found = check_manifest(folder / "list.json")
    assert found.n_studies == 4
    expected = [
        ["list.json: training.3.image", "relative"],
        ["list.json: training.4.id", "case id"],
        ["list.json: case ids must differ", ": c;"],
        ["a: ", "images/a.nii.gz: there is no such file"],
        ["a: ", "labels/a.nii.gz: cannot be read"],
        ["b: ", "b.nii.gz and", "must share one grid", "shape (3, 4, 5) and (3, 4, 6)"],
        ["c: ", "images/f/c.nii.gz: there is no such file"],
        ["c: ", "labels/f.nii.gz: there is no such file"],
    ]
    assert len(found.faults) == len(expected)
    for fault, texts in zip(found.faults, expected, strict=True):
        assert all(text in fault for text in texts), fault


def test_channels_on_other_grids(tmp_path):
    for name, spacing in (("a_0000", 1), ("a_0001", 1), ("a_0002", 2)):
        affine = np.diag([1.0, 1, spacing, 1])
        nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), affine).to_filename(tmp_path / f"{name}.nii")
    found = check_manifest(tmp_path, channels=3)
    assert found.n_studies == 1
    (fault,) = found.faults
    assert "a_0000.nii and" in fault
    assert "a_0002.nii must share one grid, but differ in spacing" in fault


def test_a_wrong_data_root_names_every_file(data, tmp_path):
    folder, _ = data
    assert len(check_manifest(folder / "list.json", data_root=tmp_path / "elsewhere").faults) == 6


@pytest.mark.parametrize("name", ["gone.json", "gone.csv", "gone", "gone.nii", "*.mha"])
def test_what_cannot_be_listed_is_a_fault(tmp_path, name):
    found = check_manifest(tmp_path / name)
    assert found.n_studies == 0
    assert len(found.faults) == 1
    assert name in found.faults[0]


def test_an_empty_list(tmp_path):
    write(tmp_path, [])
    assert check_manifest(tmp_path / "list.json").faults == (f"{tmp_path / 'list.json'}: lists no studies",)
