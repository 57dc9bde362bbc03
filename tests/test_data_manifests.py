"""The data lists that come with the package. Counts are those that the challenges publish."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pipelines.make_data_manifests import CHALLENGES, data_list, numbers_of
from rankseg_med.studies import Manifest

FOLDER = Path(__file__).resolve().parent.parent / "data_manifests"
COUNTS = {
    "lits": 131,
    "kits19": 210,
    "msd_task03_liver": 131,
    "msd_task04_hippocampus": 260,
    "msd_task07_pancreas": 281,
    "msd_task08_hepaticvessel": 303,
}


@pytest.mark.parametrize("name", COUNTS)
def test_lists_every_labelled_study_once_in_five_even_folds(name):
    manifest = Manifest.read(FOLDER / f"{name}.json")
    assert len({entry.id for entry in manifest.training}) == len(manifest.training) == COUNTS[name]
    sizes = Counter(entry.fold for entry in manifest.training)
    assert set(sizes) == set(range(5))
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_the_script_makes_what_is_there():
    assert {challenge.file for challenge in CHALLENGES} == COUNTS.keys()
    for challenge in CHALLENGES:
        assert data_list(challenge) == Manifest.read(FOLDER / f"{challenge.file}.json")


@pytest.mark.parametrize(
    ("name", "case", "image", "label"),
    [
        ("lits", "volume-130", "volume-130.nii", "segmentation-130.nii"),
        ("kits19", "case_00209", "case_00209/imaging.nii.gz", "case_00209/segmentation.nii.gz"),
        ("msd_task03_liver", "liver_0", "imagesTr/liver_0.nii.gz", "labelsTr/liver_0.nii.gz"),
        ("msd_task07_pancreas", "pancreas_421", "imagesTr/pancreas_421.nii.gz", "labelsTr/pancreas_421.nii.gz"),
    ],
)
def test_names_are_those_of_the_downloads(name, case, image, label):
    (entry,) = (entry for entry in Manifest.read(FOLDER / f"{name}.json").training if entry.id == case)
    assert (entry.image, entry.label) == (image, label)


def test_one_study_of_lits_and_the_decathlon_is_in_one_fold():
    lits, decathlon = (
        {int(re.findall(r"\d+", entry.id)[0]): entry.fold for entry in Manifest.read(FOLDER / name).training}
        for name in ("lits.json", "msd_task03_liver.json")
    )
    assert lits == decathlon


def test_the_hippocampus_studies_that_are_shared_are_in_the_full_list():
    shared, full = (
        {entry["id"] for entry in json.loads((FOLDER / name).read_text())["training"]}
        for name in ("hippocampus.json", "msd_task04_hippocampus.json")
    )
    assert shared < full


def test_numbers_of_ranges():
    assert numbers_of("1 4-6 10") == [1, 4, 5, 6, 10]
