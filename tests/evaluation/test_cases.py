import json
import pickle

import numpy as np
import pytest
import torch

from rankseg_med.evaluation import find_cases
from rankseg_med.studies import GridError, StudyError
from tests.evaluation.conftest import AFFINE, dirichlet, save_label_map, save_probabilities


def test_a_case_reads_what_was_stored(made_cases):
    first, second = find_cases(*made_cases("a", "b"))
    assert (first.case_id, second.case_id) == ("a", "b")
    assert (first.patient, second.patient) == ("a", "b")
    assert first.grid.spacing_mm == pytest.approx((2, 1.5, 1))
    for seed, case in enumerate((first, second)):
        torch.testing.assert_close(case.probabilities(), torch.from_numpy(dirichlet(seed)), rtol=0, atol=0)
        np.testing.assert_array_equal(case.reference().numpy(), dirichlet(seed).argmax(0))
    assert first.image is None


def test_cases_travel_to_other_processes(made_cases):
    cases = find_cases(*made_cases("a"))
    assert pickle.loads(pickle.dumps(cases)) == cases  # noqa: S301 - ours


def test_patients(made_cases):
    folders = made_cases("p1_scan1", "p1_scan2", "p2_scan1")
    assert [case.patient for case in find_cases(*folders, patients="(p.)_scan")] == ["p1", "p1", "p2"]
    with pytest.raises(ValueError, match="gives no patient for p2_scan1"):
        find_cases(*folders, patients="(p1)_scan")


def test_the_image_is_known_where_images_are_given(made_cases, tmp_path):
    folders = made_cases("a")
    save_label_map(tmp_path / "images" / "a_0000.nii.gz", np.zeros((7, 6, 5)))
    (case,) = find_cases(*folders, images=tmp_path / "images")
    assert case.image == tmp_path / "images" / "a_0000.nii.gz"


def test_what_one_side_lacks_is_named(made_cases):
    probabilities, references = made_cases("a", "b", "c", "d")
    (probabilities / "a.npz").unlink()
    (references / "c.nii.gz").unlink()
    (references / "d.nii.gz").unlink()
    with pytest.raises(StudyError, match=r"probabilities: has none of a\n- .*references: has none of c, d"):
        find_cases(probabilities, references)


def test_another_grid(made_cases):
    probabilities, references = made_cases("a", "b")
    moved = AFFINE.copy()
    moved[0, 3] = 4
    save_label_map(references / "b.nii.gz", np.zeros((7, 6, 5)), moved)
    with pytest.raises(GridError, match=r"b\.nii\.gz and .*b\.nii\.gz must share one grid, but differ in origin"):
        find_cases(probabilities, references)


class TestFolds:
    """An nnU-Net results folder, as ``nnUNetv2_train --npz`` leaves it."""

    @pytest.fixture
    def results(self, tmp_path):
        for case in range(5):
            folder = tmp_path / "results" / f"fold_{case % 2}" / "validation"
            save_probabilities(folder, f"case_{case}", dirichlet(case))
            (folder / "summary.json").write_text("{}")
            save_label_map(tmp_path / "labels" / f"case_{case}.nii.gz", dirichlet(case).argmax(0))
        labels = {"background": 0, "organ": 1, "tumour": 2}
        (tmp_path / "results" / "dataset.json").write_text(json.dumps({"labels": labels}))
        return tmp_path / "results"

    def test_every_case_once(self, results, tmp_path):
        # What has seen its own validation cases.
        save_probabilities(results / "fold_all" / "validation", "case_0", dirichlet(9))
        (results / "fold_7").mkdir()
        cases = find_cases(results, tmp_path / "labels")
        assert [case.case_id for case in cases] == [f"case_{case}" for case in range(5)]
        assert [case.study.files[0].parent.parent.name for case in cases] == [f"fold_{case % 2}" for case in range(5)]
        torch.testing.assert_close(cases[3].probabilities(), torch.from_numpy(dirichlet(3)), rtol=0, atol=0)

    def test_a_case_of_two_folds(self, results, tmp_path):
        save_probabilities(results / "fold_1" / "validation", "case_2", dirichlet(2))
        with pytest.raises(StudyError, match=r"fold_1/validation/case_2\.npz: was validated by another fold too"):
            find_cases(results, tmp_path / "labels")

    def test_one_fold_of_a_data_list(self, results, tmp_path):
        lines = []
        for case in range(5):
            save_label_map(tmp_path / "images" / f"case_{case}.nii.gz", np.zeros((7, 6, 5)))
            lines.append(f"case_{case},images/case_{case}.nii.gz,labels/case_{case}.nii.gz,{case % 2}")
        (tmp_path / "list.csv").write_text("\n".join(["case_id,image,label,fold", *lines]))
        assert [case.case_id for case in find_cases(results, tmp_path / "list.csv", fold=1)] == ["case_1", "case_3"]

    def test_images_that_nnunet_turned(self, results, tmp_path):
        (results / "plans.json").write_text(json.dumps({"image_reader_writer": "NibabelIOWithReorient"}))
        with pytest.raises(StudyError, match="nnU-Net reoriented the images"):
            find_cases(results, tmp_path / "labels")
        assert len(find_cases(results, tmp_path / "labels", axes="CZYX")) == 5
