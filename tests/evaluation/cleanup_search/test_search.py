import json

import nibabel as nib
import numpy as np
import pytest
import yaml

from rankseg_med import __version__
from rankseg_med.configuration import load_config
from rankseg_med.errors import InputError
from rankseg_med.evaluation.cleanup_search.search import search_cleanup, write_cleanup
from rankseg_med.evaluation.scoring.evaluate import evaluate
from rankseg_med.studies import StudyError, load_label_map, write_label_names

NAMES = {1: "organ", 2: "tumour"}


def reference(shift):
    """An organ with two tumours: 27 voxels (0.216 ml at 2 mm) and 8 voxels (0.064 ml)."""
    labels = np.zeros((20, 20, 24), np.uint8)
    labels[2:14, 2:14, 2:14] = 1
    labels[3:6, 3:6, 3 + shift : 6 + shift] = 2
    labels[9:11, 9:11, 9:11] = 2
    return labels


def prediction(shift):
    """The reference with a speck of tumour (2 voxels, 0.016 ml) deep in the organ, and an organ far away."""
    labels = reference(shift)
    labels[7, 7:9, 7] = 2
    labels[16:18, 16:18, 18:20] = 1
    return labels


def save(labels, path, spacing_mm=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, np.diag([spacing_mm] * 3 + [1])), path)


def written(parent):
    """Three cases with structures, and one without any, which has no Dice."""
    for folder in ("predictions", "references"):
        save(np.zeros((4, 4, 4), np.uint8), parent / folder / "empty.nii.gz")
    for shift in range(3):
        save(prediction(shift), parent / "predictions" / f"case_{shift}.nii.gz")
        save(reference(shift), parent / "references" / f"case_{shift}.nii.gz")
    return parent / "predictions", parent / "references"


@pytest.fixture
def folders(tmp_path):
    return written(tmp_path)


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return search_cleanup(*written(tmp_path_factory.mktemp("search")), NAMES)


def test_steps_are_tried_in_order_and_accepted_where_they_help(search):
    tried = [(trial.step.description, trial.accepted) for trial in search.trials]
    volumes = ("0.03", "0.1", "0.5", "2", "10")
    assert tried == [
        ("largest component of all foreground", True),
        ("largest component of organ", False),  # nothing is left to remove
        ("largest component of tumour", False),  # the smaller of two true tumours would go
        *((f"organ of at least {volume} ml", False) for volume in volumes),
        # The speck goes; from 0.1 ml on the smaller tumour goes with it.
        *((f"tumour of at least {volume} ml", volume == "0.03") for volume in volumes),
        ("holes of organ filled", True),  # where the speck was
        ("holes of tumour filled", False),
    ]


def test_each_step_is_scored_on_top_of_those_accepted(search):
    trials = {trial.step.description: trial for trial in search.trials}
    organ, tumour, stray = 12**3 - 27 - 8, 27 + 8, 8
    largest = trials["largest component of all foreground"]
    assert largest.before == {
        1: pytest.approx(2 * (organ - 2) / (organ - 2 + stray + organ)),
        2: pytest.approx(2 * tumour / (tumour + tumour + 2)),
    }
    assert largest.after == {1: pytest.approx(2 * (organ - 2) / (organ - 2 + organ)), 2: largest.before[2]}
    assert largest.mean_after == pytest.approx((largest.after[1] + largest.after[2]) / 2)
    assert trials["largest component of tumour"].before == largest.after
    assert trials["tumour of at least 0.03 ml"].after == {1: largest.after[1], 2: 1}
    assert trials["tumour of at least 0.5 ml"].after == {1: largest.after[1], 2: 0}
    assert trials["holes of organ filled"].after == {1: 1, 2: 1}


def test_the_written_overlay_does_what_the_table_says(search, folders, tmp_path):
    path = tmp_path / "new" / "cleaned.yaml"
    write_cleanup(search, path)
    assert yaml.safe_load(path.read_text()) == {"cleanup": search.cleanup}
    assert search.n_cases == 4
    organ, tumour, stray = 12**3 - 27 - 8, 27 + 8, 8
    dices = [2 * (organ - 2) / (organ - 2 + stray + organ), 2 * tumour / (tumour + tumour + 2)]
    assert path.read_text().startswith(
        f"# Chosen by rankseg-med {__version__} on 4 cases: mean Dice {sum(dices) / 2:.4f} before, 1.0000 after.\n"
    )
    assert [entry.name for entry in path.parent.iterdir()] == ["cleaned.yaml"]

    cleanup = load_config("inference", ["demo", path], device="cpu").get_parsed_content("cleanup")
    for case in folders[0].iterdir():
        cleaned = cleanup(load_label_map(case))[0].numpy()
        save(cleaned, tmp_path / "cleaned" / case.name)
    evaluation = evaluate(tmp_path / "cleaned", folders[1], NAMES)
    assert evaluation.foreground_mean("dice") == 1


@pytest.mark.slow
def test_processes_give_the_same(search, folders):
    assert search_cleanup(*folders, NAMES, workers=2) == search


class TestClasses:
    """Where names of the classes come from, if nobody gives them."""

    def test_beside_the_label_maps(self, search, folders):
        write_label_names(NAMES, folders[0])
        assert search_cleanup(*folders) == search

    def test_given_ones_come_before(self, folders):
        write_label_names(NAMES, folders[0])
        assert search_cleanup(*folders, {2: "lesion"}, minimum_volumes_ml=[0.03]).labels == {2: "lesion"}

    def test_of_regions_their_labels(self, folders):
        labels = {"background": 0, "whole": [1, 2], "core": 2}
        (folders[0] / "dataset.json").write_text(json.dumps({"labels": labels, "regions_class_order": [1, 2]}))
        assert search_cleanup(*folders, minimum_volumes_ml=[0.03]).labels == {1: "label 1", 2: "core"}

    def test_those_that_occur_in_the_references(self, search, folders):
        labels = load_label_map(folders[0] / "case_0.nii.gz")[0].numpy()
        labels[0, 0, 0] = 9  # of a prediction alone, which no reference knows
        save(labels, folders[0] / "case_0.nii.gz")
        found = search_cleanup(*folders)
        assert found.labels == {1: "label 1", 2: "label 2"}
        assert found.cleanup == search.cleanup

    def test_references_without_any(self, folders):
        for case in folders[1].iterdir():
            save(np.zeros(load_label_map(case).shape[1:], np.uint8), case)
        with pytest.raises(StudyError, match="has no label in 4 cases"):
            search_cleanup(*folders)

    @pytest.mark.parametrize("labels", [{}, {0: "background", 1: "organ"}])
    def test_what_is_no_class(self, folders, labels):
        with pytest.raises(InputError, match="needs positive labels"):
            search_cleanup(*folders, labels)


def test_a_least_gain_leaves_small_gains_out(search, folders):
    """The organ far away costs 0.0012 of mean Dice, the speck 0.0139, its hole 0.0003."""
    found = search_cleanup(*folders, NAMES, least_gain=0.005)
    accepted = [trial.step.description for trial in found.trials if trial.accepted]
    assert accepted == ["tumour of at least 0.03 ml"]


def test_nothing_helps(folders, tmp_path):
    search = search_cleanup(folders[1], folders[1], NAMES, minimum_volumes_ml=[0.001])
    write_cleanup(search, tmp_path / "cleaned.yaml")
    assert search.cleanup is None
    assert yaml.safe_load((tmp_path / "cleaned.yaml").read_text())["cleanup"] is None
    assert not any(trial.accepted for trial in search.trials)
    assert {trial.mean_before for trial in search.trials} == {1}


def test_separate_organs_are_not_one_body(folders):
    """What nnU-Net's first question is for: the largest component of all foreground would drop the second organ."""
    for shift in range(3):
        labels = np.where(reference(shift) > 0, 1, 0).astype(np.uint8)
        labels[16:18, 16:18, 18:20] = 2
        save(labels, folders[1] / f"case_{shift}.nii.gz")
        labels[18:20, 0:2, 0] = 1
        save(labels, folders[0] / f"case_{shift}.nii.gz")
    search = search_cleanup(*folders, NAMES)
    assert [trial.step.description for trial in search.trials if trial.accepted] == ["largest component of organ"]


def test_a_fold_of_a_data_list(folders, tmp_path):
    training = []
    for shift in range(3):
        save(reference(shift), tmp_path / "images" / f"case_{shift}.nii.gz")
        paths = {"image": f"images/case_{shift}.nii.gz", "label": f"references/case_{shift}.nii.gz"}
        training.append({"id": f"case_{shift}", "fold": shift % 2, **paths})
    data_list = tmp_path / "lists" / "dataset.json"
    data_list.parent.mkdir()
    labels = {"0": "background", "1": "organ", "2": "tumour"}
    data_list.write_text(json.dumps({"name": "x", "labels": labels, "training": training, "test": []}))
    search = search_cleanup(folders[0], data_list, NAMES, data_root=tmp_path, fold=0, minimum_volumes_ml=[0.03])
    assert search.n_cases == 2


def test_references_are_the_labels_of_a_csv_list(search, folders, tmp_path):
    """Images of three cases are grey values that would pass for label maps."""
    lines = ["case_id,image,label,fold"]
    for case in ("empty", "case_0", "case_1", "case_2"):
        shape = load_label_map(folders[1] / f"{case}.nii.gz").shape[1:]
        save(np.full(shape, 2, np.uint8), tmp_path / "images" / f"{case}.nii.gz")
        lines.append(f"{case},images/{case}.nii.gz,references/{case}.nii.gz,0")
    save(np.zeros((4, 4, 4), np.uint8), tmp_path / "images" / "unlabelled.nii.gz")
    lines.append("unlabelled,images/unlabelled.nii.gz,,")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    assert search_cleanup(folders[0], tmp_path / "list.csv", NAMES) == search


class TestErrors:
    def test_a_missing_prediction(self, folders):
        (folders[0] / "case_1.nii.gz").unlink()
        with pytest.raises(StudyError, match="has no prediction of case_1; predict every validation case"):
            search_cleanup(*folders, NAMES)

    def test_another_grid(self, folders):
        save(reference(2), folders[1] / "case_2.nii.gz", spacing_mm=1.5)
        with pytest.raises(StudyError, match="must share one grid"):
            search_cleanup(*folders, NAMES)

    def test_a_damaged_prediction(self, folders):
        # The header is right, so it shows only when the voxels are read.
        save(np.where(reference(1) > 0, 1000, 0).astype(np.int16), folders[0] / "case_1.nii.gz")
        with pytest.raises(StudyError, match=r"case_1\.nii\.gz cannot be cleaned and scored"):
            search_cleanup(*folders, NAMES)
