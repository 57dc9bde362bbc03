"""Where an evaluation finds what the labels mean, without being told."""

import json

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.errors import InputError
from rankseg_med.evaluation import find_structures
from rankseg_med.studies import write_label_map, write_label_names


@pytest.fixture
def folders(tmp_path):
    """Predictions and references, named by nobody."""
    for name in ("predictions", "references"):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.eye(4)), tmp_path / name / "a.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


def test_nobody_says(folders):
    with pytest.raises(InputError, match=r"nothing beside .* says what the labels mean"):
        find_structures(*folders)


def test_the_first_that_says_is_taken(folders):
    predictions, references = folders
    write_label_map(
        np.zeros((2, 3, 4), np.uint8), predictions / "a.nii.gz", references / "a.nii.gz", names={1: "table"}
    )
    assert find_structures(*folders) == {"table": (1,)}
    (references.parent / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]})
    )
    assert find_structures(*folders) == {"whole": (1, 2), "core": (2,)}
    write_label_names({1: "reference"}, references)
    assert find_structures(*folders) == {"reference": (1,)}
    write_label_names({3: "prediction"}, predictions)
    assert find_structures(predictions / "a.nii.gz", references) == {"prediction": (3,)}
    training = [{"image": "i.nii.gz", "label": "references/a.nii.gz"}]
    document = {"name": "x", "labels": {"0": "background", "7": "listed"}, "training": training}
    (references.parent / "list.json").write_text(json.dumps(document))
    assert find_structures(predictions, references.parent / "list.json") == {"listed": (7,)}


def test_labels_of_one_name_cannot_be_told_apart(folders):
    predictions, references = folders
    names = {1: "lesion", 2: "lesion"}
    write_label_map(np.zeros((2, 3, 4), np.uint8), predictions / "a.nii.gz", references / "a.nii.gz", names=names)
    with pytest.raises(InputError, match="must differ to be scored apart"):
        find_structures(*folders)
