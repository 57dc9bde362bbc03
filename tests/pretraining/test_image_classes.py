from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.pretraining import classes_of_label_maps, read_image_classes, with_image_classes
from rankseg_med.studies import Study, StudyError

NAMES = ["background", "organ", "tumour"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.csv", "case_id,class\na,organ\nb,background\n"),
        ("classes.csv", "\ufeffage,class,case_id\n40, organ,a \n41,background,b\n"),
        ("classes.json", '{"a": "organ", "b": "background"}'),
    ],
)
def test_files_of_classes(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_image_classes(tmp_path / name) == {"a": "organ", "b": "background"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.csv", "case,class\na,organ\n", "columns case_id and class.*its columns are case, class"),
        ("classes.csv", "", "its columns are none"),
        ("classes.csv", "case_id,class\na,organ\na,tumour\n", "these stand there twice: a"),
        ("classes.csv", "case_id,class\na\n", "these lack one: a"),
        ("classes.json", '{"a": "organ", "a": "tumour"}', "these stand there twice: a"),
        ("classes.json", '{"a": 1}', "no object of text to text"),
        ("classes.json", '[["a", "organ"]]', "no object of text to text"),
        ("classes.json", "{", "must be a CSV file"),
    ],
)
def test_files_that_are_none(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(StudyError, match=f"{name}: .*{message}"):
        read_image_classes(tmp_path / name)
    with pytest.raises(StudyError, match="no such file"):
        read_image_classes(tmp_path / "absent.csv")


def study_of(folder, name, voxels):
    label_map = np.zeros((3, 3, 3), np.uint8)
    label_map.flat[: len(voxels)] = voxels
    study = Study(name, folder / f"{name}.nii.gz", folder / f"{name}_label.nii.gz")
    nib.save(nib.Nifti1Image(label_map, np.eye(4)), study.label)
    return study


def test_rules(tmp_path):
    studies = [study_of(tmp_path, name, voxels) for name, voxels in {"a": [1, 1, 2], "b": [], "c": [2]}.items()]
    assert classes_of_label_maps(studies, "largest", NAMES) == {"a": "organ", "b": "background", "c": "tumour"}
    assert classes_of_label_maps(studies, "highest", NAMES) == {"a": "tumour", "b": "background", "c": "tumour"}
    with pytest.raises(StudyError, match=r"a_label\.nii\.gz: has label 2, but label_names end at 1"):
        classes_of_label_maps(studies, "largest", NAMES[:2])
    with pytest.raises(StudyError, match="needs label maps, but the data list has none of d"):
        classes_of_label_maps([*studies, Study("d", tmp_path / "d.nii.gz")], "largest", NAMES)


STUDIES = [Study(name, Path(f"{name}.nii.gz")) for name in "abc"]


def test_studies_get_their_classes():
    found = with_image_classes(STUDIES, {"c": "background", "a": "tumour", "b": "organ"}, NAMES)
    assert [(study.case_id, study.image_class) for study in found] == [("a", 2), ("b", 1), ("c", 0)]
    assert found[0].item == {"image": Path("a.nii.gz"), "case_id": "a", "image_class": 2}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"a": "organ", "b": "tumour"}, "no class is given of c; give one"),
        ({"a": "organ", "b": "tumour", "c": "organ", "d": "organ"}, "not among the images: d"),
        ({"a": "organ", "b": "tumour", "c": "lung"}, r"label_names \(background, organ, tumour\), got lung"),
        ({"a": "organ", "b": "organ", "c": "organ"}, "two classes at the least, all of these are of one: organ"),
        ({"a": "organ", "b": "organ", "c": "background"}, "no image is of the class tumour"),
    ],
)
def test_classes_that_cannot_be_learnt(classes, message):
    with pytest.raises(StudyError, match=message):
        with_image_classes(STUDIES, classes, NAMES)
