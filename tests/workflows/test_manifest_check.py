import json
import os

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


def test_weights_lie_on_the_grid_of_the_image(data):
    folder, rows = data
    nib.Nifti1Image(np.ones((3, 4, 6), np.float32), np.eye(4)).to_filename(folder / "weight.nii.gz")
    write(folder, [{**rows[0], "weight": "weight.nii.gz"}, {**rows[1], "weight": "none.nii.gz"}])
    faults = check_manifest(folder / "list.json").faults
    assert [fault.split(": ")[0] for fault in faults] == ["a", "b"]
    assert "must share one grid" in faults[0]
    assert "none.nii.gz: there is no such file" in faults[1]


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


def test_every_file_of_a_folder_is_looked_at(data):
    """Also those that are no study for another reason."""
    folder, _ = data
    images = folder / "images"
    (images / "a.nii").write_bytes(b"x")  # the id of a.nii.gz
    (images / "b.nii.gz").write_bytes(b"")
    os.mkfifo(images / "d.nii")
    (images / "e.nii").symlink_to("e.nii")
    for source in (images, images / "*", images.parent / "**" / "*.nii*"):
        if source.name == "*.nii*":
            for label in (folder / "labels").iterdir():
                label.unlink()
        found = check_manifest(source)
        assert found.n_studies == 6
        expected = [
            "the same case id",
            "a.nii: cannot be read",
            "b.nii.gz: cannot be read",
            "d.nii: is a FIFO",
            "symbolic links",
        ]
        counts = {text: sum(text in fault for fault in found.faults) for text in expected}
        assert counts == dict.fromkeys(expected, 1)
        assert len(found.faults) == 5


def test_every_file_of_a_study_without_all_channels_is_looked_at(tmp_path):
    nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)).to_filename(tmp_path / "a_0000.nii")
    for name in ("a_0002.nii", "b.nii"):
        (tmp_path / name).write_bytes(b"x")
    found = check_manifest(tmp_path, channels=2)
    assert found.n_studies == 2
    expected = [
        "b.nii: is not named",
        "lacks a_0001",
        "beyond that a_0002.nii",
        "b.nii: cannot be",
        "a_0002.nii: cannot be",
    ]
    assert [sum(text in fault for fault in found.faults) for text in expected] == [1] * 5
    assert len(found.faults) == 5


def test_what_is_repeated_is_looked_at_once_for_each_entry(data):
    folder, rows = data
    write(folder, [*rows, {"id": "c", "image": "images/gone.nii", "label": "labels/a.nii.gz"}])
    found = check_manifest(folder / "list.json")
    assert found.n_studies == 4
    expected = [
        ["list.json: case ids must differ", "more than once: c;"],
        ["list.json: every file may be listed once", "labels/a.nii.gz (of a, c)"],
        ["c: ", "images/gone.nii: there is no such file"],
    ]
    assert len(found.faults) == len(expected)
    for fault, texts in zip(found.faults, expected, strict=True):
        assert all(text in fault for text in texts), fault


def test_unreadable_files_and_folders_are_faults(public_folder, as_another_user):
    for name in ("a/ct.nii", "b/ct.nii", "c/ct.nii"):
        (public_folder / name).parent.mkdir()
        nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)).to_filename(public_folder / name)
    assert check_manifest(public_folder / "*" / "ct.nii") == ManifestCheck(3, ())
    (public_folder / "a" / "ct.nii").chmod(0)
    (public_folder / "b").chmod(0)
    (public_folder / "list.csv").write_text("case_id,image\na,a/ct.nii\nb,b/ct.nii\nc,c/ct.nii\n")
    for source, studies in (("*/ct.nii", 2), ("list.csv", 3)):
        with as_another_user():
            found = check_manifest(public_folder / source)
        assert found.n_studies == studies
        assert len(found.faults) == 2
        assert all("Permission denied" in fault for fault in found.faults)
    (public_folder / "list.csv").chmod(0)
    with as_another_user():
        (fault,) = check_manifest(public_folder / "list.csv").faults
    assert "list.csv: it cannot be read" in fault


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.name)])
@pytest.mark.parametrize("name", ["list.json", "list.csv"])
def test_what_is_no_file_in_a_list_s_place(tmp_path, make, name):
    make(tmp_path / name)
    (fault,) = check_manifest(tmp_path / name).faults
    assert f"{name}: it cannot be read: " in fault
