"""Overlays of made cases; ranks are worked out by hand."""

import json

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from rankseg_med.evaluation import draw_worst_cases, evaluate, plan_evaluation
from rankseg_med.evaluation.run_report import worst_cases
from rankseg_med.studies import StudyError
from tests.evaluation.run_report.report_folders import AFFINE, box, save, write_sidecar

REFERENCE = 4
PREDICTED = {"a": 4, "b": 2, "c": 1}
"""Voxels of the tumour: Dice is 1, 4 / 6 and 2 / 5."""


@pytest.fixture
def folders(tmp_path):
    for case_id, voxels in PREDICTED.items():
        save(tmp_path / "predictions" / f"{case_id}.nii.gz", box(voxels))
        save(tmp_path / "references" / f"{case_id}.nii.gz", box(REFERENCE))
        save(tmp_path / "images" / f"{case_id}_0000.nii.gz", np.indices(box(1).shape).sum(0))
    return tmp_path / "predictions", tmp_path / "references"


@pytest.fixture
def scored(folders, tmp_path):
    """Score the cases again, and draw so many of the worst; names and captions of the pictures, and faults."""

    def run(count, *, rules=None, images=tmp_path / "images", **options):
        evaluate(*folders, rules or {1: "tumour"}, output=tmp_path / "scores", **options)
        pictures, faults = draw_worst_cases(tmp_path / "scores", count, images=images)
        return {picture.path.name: picture.caption for picture in pictures}, faults

    return run


@pytest.fixture
def views(monkeypatch):
    """Case to what is drawn of it, in place of the picture."""
    seen = {}
    monkeypatch.setattr(
        worst_cases, "save_study_overlay", lambda path, view, names, **texts: seen.update({path.stem: (view, names)})
    )
    return seen


def test_the_worst_are_drawn_and_no_earlier_pictures_stay(scored, tmp_path):
    pictures, faults = scored(2)
    assert list(pictures.items()) == [("worst_01_c.png", "c: Dice 0.4000"), ("worst_02_b.png", "b: Dice 0.6667")]
    assert not faults
    folder = tmp_path / "scores" / "overlays"
    assert {path.name for path in folder.iterdir()} == set(pictures)
    assert all(imread(path).std() > 0 for path in folder.iterdir())
    (folder / "mine.png").touch()
    scored(1)
    assert {path.name for path in folder.iterdir()} == {"worst_01_c.png", "mine.png"}


def test_reference_and_prediction_over_the_image(scored, views):
    scored(9)
    view, names = views["worst_01_c"]
    assert int(view.label_map.sum()) == REFERENCE
    assert int(view.others["prediction"].sum()) == PREDICTED["c"]
    assert view.grey.std() > 0
    assert names == {1: "tumour"}


def test_of_distances_the_largest_is_worst(scored, views):
    """Along the axis of 10 mm voxels: the last of 4 is 0, 20 and 30 mm from the last that was found."""
    pictures, _ = scored(9, rules=plan_evaluation(labels={1: "tumour"}, metrics=["hd_mm", "dice"]))
    assert list(pictures.values()) == ["c: HD 30.00 mm", "b: HD 20.00 mm", "a: HD 0.00 mm"]


def test_of_signed_differences_the_largest_either_way(scored, folders, views):
    save(folders[0] / "b.nii.gz", box(9))
    pictures, _ = scored(9, rules=plan_evaluation(labels={1: "tumour"}, metrics=["relative_volume_difference"]))
    assert list(pictures.values()) == ["b: RVD 1.2500", "c: RVD -0.7500", "a: RVD 0.0000"]


def test_cases_rank_by_the_mean_over_regions_that_have_a_score(scored, folders, views):
    both = box(REFERENCE)
    both[0, 0, 0] = 2
    save(folders[1] / "a.nii.gz", both)
    regions = {"all": (1, 2), "lesion": (2,)}
    pictures, _ = scored(9, rules=plan_evaluation(regions=regions, metrics=["dice"]))
    # Of a the lesion was missed: (8 / 9 + 0) / 2; of b and c there is none on either side.
    assert list(pictures.values()) == ["c: Dice 0.4000", f"a: Dice {4 / 9:.4f}", "b: Dice 0.6667"]
    assert views["worst_01_c"][1] == {1: "all", 2: "lesion"}


def test_a_case_without_any_score_has_no_rank(scored, folders, views):
    for folder in folders:
        save(folder / "b.nii.gz", box(0))
    (folders[0] / "c.nii.gz").write_bytes(b"not a NIfTI file")
    pictures, faults = scored(9)
    assert list(pictures) == ["worst_01_a.png"]
    assert not faults


def test_what_cannot_be_drawn_is_named_and_the_others_go_on(scored, tmp_path, views):
    (tmp_path / "images" / "c_0000.nii.gz").unlink()
    nib.save(nib.Nifti1Image(np.zeros((12, 6, 6), np.uint8), AFFINE), tmp_path / "images" / "b_0000.nii.gz")
    pictures, faults = scored(9)
    assert list(pictures) == ["worst_03_a.png"]
    assert faults[0] == "c: no overlay: nothing says which image it was predicted from; name the images"
    assert faults[1].startswith("b: no overlay: ")
    assert "(12, 6, 6)" in faults[1]


def test_a_prediction_that_is_missing_is_drawn_as_empty(scored, folders, views):
    (folders[0] / "a.nii.gz").unlink()
    pictures, _ = scored(1, missing="empty")
    assert list(pictures.items()) == [("worst_01_a.png", "a: Dice 0.0000")]
    assert not views["worst_01_a"][0].others["prediction"].any()


def test_a_prediction_on_another_grid_is_drawn_as_it_was_scored(scored, folders, views):
    fine = AFFINE @ np.diag([0.5, 1, 1, 1])
    fine[0, 3] = -2.5
    nib.save(nib.Nifti1Image(np.repeat(box(1), 2, axis=0), fine), folders[0] / "c.nii.gz")
    pictures, _ = scored(1, resample_to_reference=True)
    assert list(pictures.values()) == ["c: Dice 0.4000"]
    assert int(views["worst_01_c"][0].others["prediction"].sum()) == 1


def test_images_are_known_from_what_made_the_predictions(scored, folders, tmp_path, views):
    for case_id in PREDICTED:
        image = tmp_path / "images" / f"{case_id}_0000.nii.gz"
        pseudo = np.maximum(box(PREDICTED[case_id]), 255 * box(12)[::-1] * (box(REFERENCE) == 0))
        save(folders[0] / f"{case_id}.nii.gz", pseudo)
        write_sidecar(folders[0], case_id, job="pseudo-label", inputs=[str(image)])
    (tmp_path / "images" / "b_0000.nii.gz").unlink()
    pictures, (fault,) = scored(9, images=None)
    assert list(pictures) == ["worst_01_c.png", "worst_03_a.png"]
    assert fault.startswith("b: no overlay: ")
    assert "b_0000.nii.gz" in fault
    # Voxels that training is to ignore are no structure.
    assert views["worst_01_c"][0].labels == [1]
    # Those that are named go first.
    for case_id in "ab":
        save(tmp_path / "moved" / f"{case_id}.nii.gz", 9 - np.indices(box(1).shape).sum(0).clip(max=9))
    pictures, faults = scored(9, images=tmp_path / "moved")
    assert (len(pictures), faults) == (3, [])


def test_one_image_of_the_only_case_may_have_any_name(tmp_path, views):
    for name in ("prediction", "reference", "ct"):
        save(tmp_path / f"{name}.nii.gz", box(2))
    evaluate(tmp_path / "prediction.nii.gz", tmp_path / "reference.nii.gz", {1: "tumour"}, output=tmp_path / "scores")
    pictures, _ = draw_worst_cases(tmp_path / "scores", 1, images=tmp_path / "ct.nii.gz")
    assert [picture.path.name for picture in pictures] == ["worst_01_prediction.png"]


def test_images_of_a_data_list(scored, tmp_path, views):
    scored(1)
    entries = [{"image": f"{case_id}_0000.nii.gz", "case_id": case_id} for case_id in PREDICTED]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    options = {"images": tmp_path / "list.json", "data_root": tmp_path / "images"}
    pictures, _ = draw_worst_cases(tmp_path / "scores", 3, **options)
    assert len(pictures) == 3


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(StudyError, match="holds no record"):
        draw_worst_cases(tmp_path, 1)
