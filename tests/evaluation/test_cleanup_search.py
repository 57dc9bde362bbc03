import json

import nibabel as nib
import numpy as np
import pytest
import yaml

from rankseg_med.configuration.config import ConfigError, load_config
from rankseg_med.evaluation.cleanup_search import search_cleanup
from rankseg_med.evaluation.evaluation import evaluate
from rankseg_med.studies import StudyError, load_label_map
from tests.conftest import REPOSITORY

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


@pytest.fixture
def folders(tmp_path):
    """Three cases with structures, and one without any, which has no Dice."""
    for folder in ("predictions", "references"):
        save(np.zeros((4, 4, 4), np.uint8), tmp_path / folder / "empty.nii.gz")
    for shift in range(3):
        save(prediction(shift), tmp_path / "predictions" / f"case_{shift}.nii.gz")
        save(reference(shift), tmp_path / "references" / f"case_{shift}.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


@pytest.fixture
def overlay(tmp_path):
    path = tmp_path / "overlay.yaml"
    content = (REPOSITORY / "configs" / "demo.yaml").read_text()
    path.write_text(content + "cleanup::labels: [1]\n")
    return path


@pytest.fixture
def search(folders, overlay, tmp_path):
    return search_cleanup(*folders, overlay, tmp_path / "new" / "cleaned.yaml")


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


def test_the_written_config_does_what_the_table_says(search, folders, overlay, tmp_path):
    path = tmp_path / "new" / "cleaned.yaml"
    content = yaml.safe_load(path.read_text())
    assert content.pop("cleanup") == search.cleanup
    expected = yaml.safe_load(overlay.read_text())
    del expected["cleanup"], expected["cleanup::labels"]
    assert content == expected
    assert search.n_cases == 4
    assert path.read_text().startswith("# overlay.yaml with the cleanup that rankseg-med")
    assert [entry.name for entry in path.parent.iterdir()] == ["cleaned.yaml"]

    cleanup = load_config("inference", path, device="cpu").get_parsed_content("cleanup")
    for case in folders[0].iterdir():
        cleaned = cleanup(load_label_map(case))[0].numpy()
        save(cleaned, tmp_path / "cleaned" / case.name)
    evaluation = evaluate(tmp_path / "cleaned", folders[1], NAMES)
    assert evaluation.foreground_mean("dice") == 1


@pytest.mark.slow
def test_processes_give_the_same(search, folders, overlay, tmp_path):
    assert search_cleanup(*folders, overlay, tmp_path / "cleaned.yaml", workers=2) == search


def test_a_shipped_config_by_name(folders, tmp_path):
    search = search_cleanup(*folders, "demo", tmp_path / "cleaned.yaml", minimum_volumes_ml=[0.03])
    content = yaml.safe_load((tmp_path / "cleaned.yaml").read_text())
    assert content.pop("cleanup") == search.cleanup
    shipped = yaml.safe_load((REPOSITORY / "configs" / "demo.yaml").read_text())
    assert content == {key: value for key, value in shipped.items() if key != "cleanup"}


def test_what_the_overlay_extends_is_found_from_the_new_folder(folders, overlay, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: overlay.yaml\ninferer::overlap: 0.25\n")
    output = tmp_path / "elsewhere" / "cleaned.yaml"
    search_cleanup(*folders, mine, output, minimum_volumes_ml=[0.03])
    config = load_config("inference", output, device="cpu")
    assert (config["inferer"]["overlap"], config["label_names"]) == (0.25, ["background", "organ", "tumour"])


def test_nothing_helps(folders, overlay, tmp_path):
    search = search_cleanup(folders[1], folders[1], overlay, tmp_path / "cleaned.yaml", minimum_volumes_ml=[0.001])
    assert search.cleanup is None
    assert yaml.safe_load((tmp_path / "cleaned.yaml").read_text())["cleanup"] is None
    assert not any(trial.accepted for trial in search.trials)
    assert {trial.mean_before for trial in search.trials} == {1}


def test_separate_organs_are_not_one_body(folders, overlay, tmp_path):
    """What nnU-Net's first question is for: the largest component of all foreground would drop the second organ."""
    for shift in range(3):
        labels = np.where(reference(shift) > 0, 1, 0).astype(np.uint8)
        labels[16:18, 16:18, 18:20] = 2
        save(labels, folders[1] / f"case_{shift}.nii.gz")
        labels[18:20, 0:2, 0] = 1
        save(labels, folders[0] / f"case_{shift}.nii.gz")
    search = search_cleanup(*folders, overlay, tmp_path / "cleaned.yaml")
    assert [trial.step.description for trial in search.trials if trial.accepted] == ["largest component of organ"]


def test_a_fold_of_a_data_list(folders, overlay, tmp_path):
    training = []
    for shift in range(3):
        save(reference(shift), tmp_path / "images" / f"case_{shift}.nii.gz")
        paths = {"image": f"images/case_{shift}.nii.gz", "label": f"references/case_{shift}.nii.gz"}
        training.append({"id": f"case_{shift}", "fold": shift % 2, **paths})
    data_list = tmp_path / "lists" / "dataset.json"
    data_list.parent.mkdir()
    labels = {"0": "background", "1": "organ", "2": "tumour"}
    data_list.write_text(json.dumps({"name": "x", "labels": labels, "training": training, "test": []}))
    search = search_cleanup(
        folders[0], data_list, overlay, tmp_path / "cleaned.yaml", data_root=tmp_path, fold=0, minimum_volumes_ml=[0.03]
    )
    assert search.n_cases == 2


def test_references_are_the_labels_of_a_csv_list(search, folders, overlay, tmp_path):
    """Images of three cases are grey values that would pass for label maps."""
    lines = ["case_id,image,label,fold"]
    for case in ("empty", "case_0", "case_1", "case_2"):
        shape = load_label_map(folders[1] / f"{case}.nii.gz").shape[1:]
        save(np.full(shape, 2, np.uint8), tmp_path / "images" / f"{case}.nii.gz")
        lines.append(f"{case},images/{case}.nii.gz,references/{case}.nii.gz,0")
    save(np.zeros((4, 4, 4), np.uint8), tmp_path / "images" / "unlabelled.nii.gz")
    lines.append("unlabelled,images/unlabelled.nii.gz,,")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    assert search_cleanup(folders[0], tmp_path / "list.csv", overlay, tmp_path / "cleaned.yaml") == search


class TestErrors:
    def test_a_missing_prediction(self, folders, overlay, tmp_path):
        (folders[0] / "case_1.nii.gz").unlink()
        with pytest.raises(StudyError, match="has no prediction of case_1; predict every validation case"):
            search_cleanup(*folders, overlay, tmp_path / "cleaned.yaml")
        assert not (tmp_path / "cleaned.yaml").exists()

    def test_another_grid(self, folders, overlay, tmp_path):
        save(reference(2), folders[1] / "case_2.nii.gz", spacing_mm=1.5)
        with pytest.raises(StudyError, match="must share one grid"):
            search_cleanup(*folders, overlay, tmp_path / "cleaned.yaml")

    def test_a_damaged_prediction(self, folders, overlay, tmp_path):
        # The header is right, so it shows only when the voxels are read.
        save(np.where(reference(1) > 0, 1000, 0).astype(np.int16), folders[0] / "case_1.nii.gz")
        with pytest.raises(StudyError, match=r"case_1\.nii\.gz cannot be cleaned and scored"):
            search_cleanup(*folders, overlay, tmp_path / "cleaned.yaml")
        assert not (tmp_path / "cleaned.yaml").exists()

    def test_no_overlay(self, folders, tmp_path):
        with pytest.raises(ConfigError, match="no such config file, nor a shipped config"):
            search_cleanup(*folders, tmp_path / "nowhere", tmp_path / "cleaned.yaml")

    def test_shipped_configs_are_not_written_over(self, folders):
        shipped = REPOSITORY / "configs" / "demo.yaml"
        with pytest.raises(ConfigError, match="is the shipped config demo; write the copy to a file of your own"):
            search_cleanup(*folders, "demo", shipped)
