"""Cases of downloaded data sets, and the folds that they are dealt to."""

import importlib
import json

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture
def data_sets(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "pipelines"))
    return importlib.import_module("data_sets")


def test_a_volume_twice_or_without_its_segmentation(data_sets, tmp_path):
    (tmp_path / "volume-7.nii").touch()
    with pytest.raises(SystemExit, match=r"has no segmentation-7\.nii beside it"):
        data_sets.lits_cases(tmp_path)
    (tmp_path / "segmentation-7.nii").touch()
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "volume-7.nii").touch()
    (tmp_path / "again" / "segmentation-7.nii").touch()
    with pytest.raises(SystemExit, match="volume 7 lies in"):
        data_sets.lits_cases(tmp_path)


def test_a_kits_case_that_was_not_downloaded(data_sets, tmp_path):
    (tmp_path / "case_00003").mkdir()
    (tmp_path / "case_00003" / "segmentation.nii.gz").touch()
    with pytest.raises(SystemExit, match=r"case_00003: has no imaging\.nii\.gz"):
        data_sets.kits_cases(tmp_path)


def write_task(folder, *, modality=("MRI",), labels=("background", "anterior", "posterior"), files=True):
    paths = {"image": "./imagesTr/hippocampus_001.nii.gz", "label": "./labelsTr/hippocampus_001.nii.gz"}
    for path in paths.values() if files else ():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    folder.mkdir(exist_ok=True)
    content = {
        "name": "Hippocampus",
        "modality": {str(number): name for number, name in enumerate(modality)},
        "labels": {str(number): name for number, name in enumerate(labels)},
        "numTraining": 1,
        "training": [paths],
        "test": ["./imagesTs/hippocampus_002.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def test_a_decathlon_task_is_what_its_list_says(data_sets, tmp_path):
    folder = tmp_path / "Task04_Hippocampus"
    write_task(folder)
    data_set, cases = data_sets.decathlon_task(folder)
    assert (data_set.label_names, data_set.config) == (("anterior", "posterior"), "hippocampus")
    assert data_set.regions == {"anterior": (1,), "posterior": (2,)}
    assert [(case.case_id, case.image.name) for case in cases] == [("hippocampus_001", "hippocampus_001.nii.gz")]
    assert data_sets.decathlon_task(folder, "own.yaml")[0].config == "own.yaml"


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("Task04_Hippocampus", {"files": False}, "2 listed files are missing, the first .*hippocampus_001"),
        ("Task01_BrainTumour", {"modality": ("FLAIR", "T1w")}, "these have 2 in one 4-D file"),
        ("Task04_Hippocampus", {"labels": ("background",)}, "labels must be 0 .background., 1, 2"),
        ("Task09_Spleen", {}, "no config is shipped for this task; give one by --config"),
    ],
)
def test_a_decathlon_task_that_cannot_be_used(data_sets, tmp_path, task, options, message):
    write_task(tmp_path / task, **options)
    with pytest.raises(SystemExit, match=message):
        data_sets.decathlon_task(tmp_path / task)


@pytest.mark.parametrize(
    ("find", "message"),
    [("lits_cases", r"must hold volume-<n>\.nii"), ("kits_cases", "must hold case_<nnnnn> folders")],
)
def test_a_folder_without_cases(data_sets, tmp_path, find, message):
    (tmp_path / "._volume-1.nii").touch()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SystemExit, match=message):
            getattr(data_sets, find)(folder)


def test_a_folder_that_is_no_decathlon_task(data_sets, tmp_path):
    with pytest.raises(SystemExit, match=r"must be the folder of a task, with dataset\.json"):
        data_sets.decathlon_task(tmp_path)


def test_challenges_score_their_regions(data_sets):
    assert data_sets.LITS.regions == {"liver": (1, 2), "lesion": (2,)}
    assert data_sets.KITS["kits19"].regions == {"kidney": (1, 2), "tumour": (2,)}
    assert list(data_sets.KITS["kits23"].regions.values()) == [(1, 2, 3), (2, 3), (2,)]
