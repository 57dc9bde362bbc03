"""Reports on made folders; expected values are worked out by hand."""

import json
import math

import numpy as np
import pytest
import SimpleITK

from rankseg_med.errors import InputError
from rankseg_med.evaluation import evaluate, find_cases, plan_evaluation, run_ab, structures_of, write_report
from rankseg_med.runs import Shard
from rankseg_med.studies import StudyError, content_digest
from tests.evaluation.rim_cases import write_case
from tests.evaluation.run_report.report_folders import DECISION, box, save, studies_in, write_sidecar
from tests.report.written_page import facts_in


@pytest.fixture
def labels(tmp_path):
    """Three studies: 4, 2 and 1 voxels of a tumour; one failed, and one that nobody has come to."""
    folder = tmp_path / "labels"
    for case_id, voxels in {"a": 4, "b": 2, "c": 1}.items():
        save(folder / f"{case_id}.nii.gz", box(voxels))
        details = {"volume_ml": {"1": 2.0 * voxels}, "label_names": {"1": "tumour"}, "decisions": [DECISION]}
        write_sidecar(folder, case_id, **details)
    write_sidecar(folder, "d", "failed", error="the disk is full", traceback="line 7")
    (folder / "plan.json").write_text(json.dumps({"cases": ["a", "b", "c", "d", "e"]}))
    return folder


@pytest.fixture
def scores(labels, tmp_path):
    """A reference of 4 voxels for each, but none for the last: Dice is 1 and 2/3."""
    for case_id in ("a", "b"):
        save(tmp_path / "references" / f"{case_id}.nii.gz", box(4))
    evaluate(labels, tmp_path / "references", {1: "tumour"}, output=tmp_path / "scores")
    return tmp_path / "scores"


def test_what_jobs_left(labels):
    report = write_report(labels)
    assert (report.page, report.studies, report.undrawn) == (labels / "report.html", 5, 0)
    facts, studies = facts_in(report.page), studies_in(report.page)
    assert dict(facts["summary"])["studies"] == "5: 3 done, 1 failed, 1 pending"
    assert {case_id: study["status"] for case_id, study in studies.items()} == {
        **dict.fromkeys("abc", "done"),
        **{"d": "failed", "e": "pending"},
    }
    # 2 ml a voxel: the interval of 3 to 6 voxels is 6 to 12 ml.
    assert studies["b"]["values"] == {
        "tumour: volume (ml)": pytest.approx([4, 6, 12]),
        "tumour: expected Dice": [0.8, 0.8, 0.9],
        "time (s)": [2.5],
    }
    assert (studies["b"]["certainty"], studies["b"]["score"]) == (0.8, None)
    assert ["tumour: expected Dice of argmax's label map", "0.7000"] in studies["b"]["facts"]
    assert studies["d"]["reason"] == "the disk is full"
    assert ["where it failed", "line 7"] in studies["d"]["facts"]
    assert ["predict: decoder::name", '"dice"'] in facts["settings"]
    assert facts["versions"] == [["torch", "2"]]
    assert not facts["tables"]


def test_distances_in_voxels_are_said_to_be(labels, scores, tmp_path):
    bcp = plan_evaluation(preset="bcp", labels={1: "tumour"})
    evaluate(labels, tmp_path / "references", bcp, output=tmp_path / "in_voxels")
    for folder, unit in ((scores, "mm"), (tmp_path / "in_voxels", "voxels")):
        facts = facts_in(write_report(labels, scores=folder).page)
        assert f"tumour: HD95 ({unit})" in {column["heading"] for column in facts["columns"]}
        (table,) = (table for table in facts["tables"] if table["title"] == "Scores")
        assert f"HD95 {unit}" in {row[1] for row in table["rows"]}


def test_an_image_that_is_gone_is_named_and_the_labels_are_drawn(labels, tmp_path):
    (picture,) = studies_in(write_report(labels).page)["a"]["slices"]
    assert picture["caption"].startswith("Largest cross-section of tumour")
    (note,) = studies_in(labels / "report.html")["a"]["notes"]
    assert note.startswith("The image is not shown: ")
    assert str(tmp_path / "images" / "a") in note
    # They may have been moved.
    for case_id in "abc":
        save(tmp_path / "moved" / f"{case_id}_0000.nii.gz", box(12))
    assert not studies_in(write_report(labels, images=tmp_path / "moved").page)["a"]["notes"]


def test_scores_beside_the_label_maps(labels, scores):
    page = write_report(labels, scores=scores).page
    facts, studies = facts_in(page), studies_in(page)
    assert studies["a"]["values"]["tumour: Dice"] == [1.0]
    assert studies["b"]["values"]["tumour: Dice"] == [pytest.approx(2 / 3)]
    assert studies["b"]["score"] == pytest.approx(2 / 3)
    assert "tumour: Dice" not in studies["c"]["values"]
    assert any(note.startswith("No score: no reference") for note in studies["c"]["notes"])
    captions = [picture["caption"] for picture in studies["b"]["slices"]]
    assert captions[1].startswith("Largest disagreement with the reference (white outline): 2 voxels")
    assert "The reference is the same everywhere." in studies["a"]["notes"]
    agreement = facts["tables"][1]["rows"]
    # Expected 0.8 and 0.8, true 1 and 2/3.
    assert agreement[0][:4] == ["tumour", "Dice", "2", f"{0.8 - 5 / 6:.4f}"]
    assert agreement[0][4] == f"{(0.2 + 0.8 - 2 / 3) / 2:.4f}"


def test_an_evaluation_finds_what_made_the_label_maps(scores):
    page = write_report(scores).page
    assert page == scores / "report.html"
    studies = studies_in(page)
    # Cases of either side, failed ones too.
    assert {case_id: study["status"] for case_id, study in studies.items()} == {"a": "done", "b": "done", "c": "failed"}
    assert studies["b"]["values"]["tumour: expected Dice"] == [0.8, 0.8, 0.9]
    assert studies["c"]["reason"].startswith("no reference")
    tables = facts_in(page)["tables"]
    (mean,) = (row[2] for row in tables[0]["rows"] if row[:2] == ["tumour", "Dice"])
    assert mean == f"{(1 + 2 / 3) / 2:.4f}"


def test_label_maps_of_another_program(labels, scores):
    for path in labels.glob("*.json"):
        path.unlink()
    studies = studies_in(write_report(scores).page)
    assert any("Nothing is known of how b.nii.gz was made" in note for note in studies["b"]["notes"])
    assert studies["b"]["values"]["tumour: Dice"] == [pytest.approx(2 / 3)]
    assert len(studies["b"]["slices"]) == 2


def test_label_maps_in_any_format_that_is_scored(tmp_path):
    save(tmp_path / "references" / "a.nii.gz", box(4))
    (tmp_path / "labels").mkdir()
    label_map = SimpleITK.ReadImage(str(tmp_path / "references" / "a.nii.gz"))
    SimpleITK.WriteImage(label_map, str(tmp_path / "labels" / "a.nrrd"))
    evaluate(tmp_path / "labels", tmp_path / "references", {1: "tumour"}, output=tmp_path / "scores")
    study = studies_in(write_report(tmp_path / "scores").page)["a"]
    assert study["slices"]
    assert "The reference is the same everywhere." in study["notes"]


def test_against_another_label_map(labels, tmp_path):
    save(tmp_path / "argmax" / "a.nii.gz", box(1))
    studies = studies_in(write_report(labels, against=tmp_path / "argmax").page)
    assert studies["a"]["slices"][1]["caption"].startswith("Largest disagreement with the other label map")
    assert len(studies["b"]["slices"]) == 1


def test_what_was_named_and_is_not_of_these_studies_is_said(labels, tmp_path):
    save(tmp_path / "other" / "a.nii.gz", box(1))
    save(tmp_path / "images" / "x.nii.gz", box(1))
    page = write_report(labels, against=tmp_path / "other", images=tmp_path / "images").page
    assert facts_in(page)["problems"] == [
        f"{tmp_path / 'images'}: has no image of 3 of 5 studies: a, b, c",
        f"{tmp_path / 'other'}: has no label map of 2 of 5 studies: b, c",
    ]


def test_a_label_map_that_was_altered_or_is_damaged(labels):
    save(labels / "a.nii.gz", np.random.default_rng(0).integers(0, 2, (12, 6, 5)))
    size = (labels / "b.nii.gz").stat().st_size
    (labels / "b.nii.gz").write_bytes(b"\x1f\x8b" + bytes(size - 2))
    report = write_report(labels)
    studies = studies_in(report.page)
    assert studies["a"]["status"] == "altered"
    assert "when it was written" in studies["a"]["reason"]
    assert report.undrawn == 1
    assert any(note.startswith("No pictures: ") for note in studies["b"]["notes"])
    assert studies["c"]["slices"]


def test_ignored_voxels_of_pseudo_labels_are_no_class(labels):
    pseudo = box(3)
    pseudo[8:, :, :] = 255
    save(labels / "a.nii.gz", pseudo)
    write_sidecar(labels, "a", job="pseudo-label", voxels={"1": 3}, label_names={"1": "tumour"})
    found = studies_in(write_report(labels).page)["a"]
    assert found["values"]["tumour: volume (ml)"] == pytest.approx([6])
    assert found["slices"][0]["caption"].startswith("Largest cross-section of tumour")
    assert "Voxels that training is to ignore (255) are drawn as background." in found["notes"]


def test_what_it_reads_is_left_as_it_was(labels, scores, tmp_path):
    before = {path: content_digest(path) for path in tmp_path.rglob("*") if path.is_file()}
    write_report(labels, scores=scores)
    write_report(scores, tmp_path / "elsewhere" / "page.html")
    after = {path: content_digest(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {labels / "report.html", tmp_path / "elsewhere" / "page.html"}
    assert before.items() <= after.items()
    # A report among label maps does not stand in the way of scoring them again.
    assert len(evaluate(labels, tmp_path / "references", {1: "tumour"}).scores) == 2


@pytest.mark.slow
def test_without_volumes_and_by_processes(labels):
    studies = studies_in(write_report(labels, with_volumes=False, workers=2).page)
    assert studies["a"]["volumes"] is None
    assert studies["a"]["slices"]


def test_figures(labels, scores, tmp_path):
    report = write_report(labels, scores=scores, figures=tmp_path / "figures")
    assert set(report.figures) == {path for path in (tmp_path / "figures").rglob("*") if path.is_file()}
    names = {str(path.relative_to(tmp_path / "figures")) for path in report.figures}
    kinds = ("box-dice", "box-hd95_mm", "agreement-dice", "reliability-dice", "risk-coverage-dice")
    assert {f"{kind}.{ending}" for kind in kinds for ending in ("png", "pdf")} <= names
    assert {f"overlays/{case_id}.{ending}" for case_id in "abc" for ending in ("png", "pdf")} <= names


@pytest.mark.slow
def test_overlays_by_processes_and_of_what_can_be_drawn(labels, scores, tmp_path):
    size = (labels / "b.nii.gz").stat().st_size
    (labels / "b.nii.gz").write_bytes(b"\x1f\x8b" + bytes(size - 2))
    report = write_report(labels, scores=scores, figures=tmp_path / "figures", workers=2)
    overlays = [path.name for path in report.figures if path.parent.name == "overlays"]
    assert overlays == ["a.png", "a.pdf", "c.png", "c.pdf"]


def test_figures_that_cannot_be_written(labels, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "overlays").write_text("in the way")
    with pytest.raises(OSError, match="overlays"):
        write_report(labels, figures=tmp_path / "figures")


def test_a_trial_of_settings(tmp_path):
    for index in range(3):
        write_case(tmp_path, f"case_{index}", 3 + index, rim=index > 0)
    broken = tmp_path / "probabilities" / "case_2.npz"
    broken.write_bytes(broken.read_bytes()[:200])
    cases = find_cases(tmp_path / "probabilities", tmp_path / "references")
    trial = run_ab(
        cases, structures_of(tmp_path / "probabilities", cases[0].study), tmp_path / "out", presence="always"
    )
    page = write_report(tmp_path / "out").page
    facts, studies = facts_in(page), studies_in(page)
    assert dict(facts["summary"])["verdict"] == trial.verdict.sentence
    assert facts["columns"][0]["heading"] == "label 1: Dice, argmax"
    scores = {row.region.name: row.values["dice"] for row in trial.result.argmax.scores["case_1"]}
    assert studies["case_1"]["values"]["label 1: Dice, argmax"] == [pytest.approx(scores["label 1"])]
    assert studies["case_2"]["status"] == "failed"
    assert studies["case_2"]["reason"]
    # The rim is not there: decoding for Dice loses, and that is drawn.
    assert studies["case_0"]["slices"]
    with pytest.raises(StudyError, match="leave out the scores"):
        write_report(tmp_path / "out", scores=tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scores.csv", "scores.csv: dice of a must be a number, got 'half'"),
        ("summary.json", "summary.json: must be what evaluate writes"),
    ],
)
def test_a_damaged_evaluation(scores, name, message):
    (scores / name).write_text("case_id,name,dice\na,tumour,half\n")
    with pytest.raises(InputError, match=message):
        write_report(scores)


def test_folders_of_something_else(labels, scores, tmp_path):
    with pytest.raises(StudyError, match="holds no record"):
        write_report(tmp_path / "references")
    with pytest.raises(StudyError, match="must be the output folder of evaluate"):
        write_report(labels, scores=labels)
    with pytest.raises(StudyError, match="is the folder of an evaluation itself"):
        write_report(scores, scores=scores)


def test_scores_that_are_not_defined(labels, tmp_path):
    save(tmp_path / "references" / "a.nii.gz", box(0))
    save(labels / "a.nii.gz", box(0))
    write_sidecar(labels, "a", volume_ml={}, label_names={"1": "tumour"}, decisions=[])
    evaluation = evaluate(labels, tmp_path / "references", {1: "tumour"}, output=tmp_path / "scores")
    assert math.isnan(evaluation.scores["a"][0].values["dice"])
    study = studies_in(write_report(tmp_path / "scores").page)["a"]
    assert (study["values"]["tumour: Dice"], study["score"]) == ([None], None)
    assert study["values"]["tumour: volume (ml)"] == [0.0]


def test_an_evaluation_of_which_only_a_part_is_done(labels, tmp_path):
    for case_id in "abc":
        save(tmp_path / "references" / f"{case_id}.nii.gz", box(4))
    options = {"output": tmp_path / "scores", "shard": Shard(1, 2)}
    evaluate(labels, tmp_path / "references", {1: "tumour"}, **options)
    page = write_report(tmp_path / "scores").page
    facts, studies = facts_in(page), studies_in(page)
    (problem,) = facts["problems"]
    assert "has no scores of all studies yet; run evaluate without --shard" in problem
    assert {study["status"] for study in studies.values()} == {"done", "pending"}
    assert all(study["score"] is None for study in studies.values())
