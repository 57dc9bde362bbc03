"""Names of labels in a file and beside it, read back by others where others read them."""

from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rankseg_med.studies import (
    StudyError,
    labels_named_in,
    load_label_map,
    read_label_names,
    write_label_map,
    write_label_names,
)

NAMES = {1: "liver", 2: "tumour <2 cm> & more"}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.diag([1, 2, 3, 1])), path)
    return path


@pytest.fixture
def labels():
    return np.arange(60).reshape(3, 4, 5) % 3


def test_a_label_map_names_its_labels_and_is_the_same_to_everyone(image, labels, tmp_path):
    path = tmp_path / "labels.nii.gz"
    write_label_map(labels, path, grid_of=image, names=NAMES)
    assert labels_named_in(path) == NAMES
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), labels)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)).T, labels)
    (extension,) = nib.load(path).header.extensions
    assert extension.get_code() == nib.nifti1.extension_codes["caret"]
    # The form of TotalSegmentator's label maps.
    table = ElementTree.fromstring(extension.content).find("VolumeInformation/LabelTable")
    assert {int(entry.get("Key")): entry.text for entry in table} == NAMES


def test_labels_that_look_like_another_extension_are_labels(image, tmp_path):
    labels = np.zeros((3, 4, 5), np.uint8)
    labels.ravel("F")[[1, 4]] = 1, 2  # as an extension, of 256 bytes and code 2
    path = tmp_path / "labels.nii.gz"
    write_label_map(labels, path, grid_of=image, names=NAMES)
    np.testing.assert_array_equal(load_label_map(path)[0].numpy(), labels)


def test_a_file_without_a_table_names_nothing(image, tmp_path):
    assert labels_named_in(image) == {}
    broken = nib.load(image)
    broken.header.extensions.append(nib.nifti1.Nifti1Extension(30, b"<LabelTable><"))
    nib.save(broken, tmp_path / "broken.nii.gz")
    assert labels_named_in(tmp_path / "broken.nii.gz") == {}


def test_a_folders_table_is_written_once_and_never_replaced(tmp_path):
    assert read_label_names(tmp_path) is None
    write_label_names(NAMES, tmp_path)
    assert (tmp_path / "dseg.tsv").read_text().splitlines()[:2] == ["index\tname", "1\tliver"]
    before = (tmp_path / "dseg.tsv").stat().st_mtime_ns
    write_label_names(NAMES, tmp_path)
    assert read_label_names(tmp_path) == NAMES
    with pytest.raises(StudyError, match="remove it, or write to another folder"):
        write_label_names({1: "kidney"}, tmp_path)
    assert (tmp_path / "dseg.tsv").stat().st_mtime_ns == before


def test_a_table_of_bids_may_have_more(tmp_path):
    (tmp_path / "dseg.tsv").write_text("index\tname\tabbreviation\n0\tBackground\tBG\n7\tpancreas\tPA\n")
    assert read_label_names(tmp_path) == {7: "pancreas"}


@pytest.mark.parametrize("content", ["", "label\tname\n1\tliver\n", "index\tname\none\tliver\n", "index\tname\n\tx\n"])
def test_what_is_no_table(tmp_path, content):
    (tmp_path / "dseg.tsv").write_text(content)
    if content:
        with pytest.raises(StudyError, match=r"dseg\.tsv: must be a table"):
            read_label_names(tmp_path)
    else:
        assert read_label_names(tmp_path) == {}


@pytest.mark.parametrize("second", ["1\ttumour", "2\tliver"])
def test_a_label_or_a_name_twice(tmp_path, second):
    (tmp_path / "dseg.tsv").write_text(f"index\tname\n1\tliver\n{second}\n")
    with pytest.raises(StudyError, match="every label and every name must be there once"):
        read_label_names(tmp_path)
