"""Whole comparisons of made cases, of which it is plain whether decoding pays."""

import csv
import gzip
import html
import json
import math
import pickle

import numpy as np
import pytest
from medpy.metric import binary
from scipy import stats
from scipy.spatial import distance

from rankseg_med.evaluation import find_cases, run_ab, structures_of
from rankseg_med.studies import StudyError
from tests.evaluation.conftest import AFFINE, save_label_map, save_probabilities
from tests.evaluation.rim_cases import SHAPE, core_and_rim, write_case

SPACING_MM = tuple(np.diag(AFFINE)[:3])


@pytest.fixture
def try_on(tmp_path):
    """Write so many cases with a rim and without; returns what came of the report."""

    def run(*rims, **options):
        for index, rim in enumerate(rims):
            write_case(tmp_path, f"case_{index}", 3 + index % 5, rim=rim)
        cases = find_cases(tmp_path / "probabilities", tmp_path / "references")
        structures = structures_of(tmp_path / "probabilities", cases[0].study)
        return run_ab(cases, structures, tmp_path / "out", presence="always", **options)

    return run


def test_decoding_pays(try_on, tmp_path):
    report = try_on(*[True] * 8)
    assert report.verdict.setting == "RankSEG"
    assert report.verdict.sentence.startswith("Use RankSEG: it changes the mean Dice against argmax by +")
    assert not report.document.pictures  # nothing loses
    for row in scores(tmp_path / "out", "RankSEG"):
        assert float(row["dice"]) == 1


def test_decoding_hurts(try_on, tmp_path):
    report = try_on(*[False] * 8)
    assert report.verdict.setting is None
    assert report.verdict.sentence.startswith("Do not decode: every setting lowers the mean Dice")
    assert [row["dice"] for row in scores(tmp_path / "out", "argmax")] == ["1.0"] * 8
    assert len(report.document.pictures) == 5
    assert {picture.path.parent for picture in report.document.pictures} == {tmp_path / "out" / "pictures"}
    assert all(picture.path.is_file() for picture in report.document.pictures)


@pytest.mark.slow
def test_undecided(try_on):
    report = try_on(*[True, False] * 5)
    assert report.verdict.setting is None
    assert "can be told from none" in report.verdict.sentence


def test_too_few(try_on):
    report = try_on(*[True] * 5)
    assert "5 of the at least 6 patients" in report.verdict.sentence


def scores(output, setting):
    with (output / "scores" / setting / "scores.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_scores_are_those_of_scipy_and_medpy(try_on, tmp_path):
    try_on(True, False, True, metric="iou")
    for setting in ("argmax", "coherent"):
        for index, row in enumerate(scores(tmp_path / "out", setting)):
            core, both = core_and_rim(3 + index % 5)
            found, truth = core if setting == "argmax" else both, core if index == 1 else both
            assert row["case_id"] == f"case_{index}"
            assert float(row["dice"]) == pytest.approx(1 - distance.dice(found.ravel(), truth.ravel()))
            assert float(row["jaccard"]) == pytest.approx(1 - distance.jaccard(found.ravel(), truth.ravel()))
            assert float(row["assd_mm"]) == pytest.approx(binary.assd(found, truth, SPACING_MM), abs=0.2)
            assert float(row["hd95_mm"]) <= binary.hd(found, truth, SPACING_MM) + 1e-6
            assert float(row["reference_volume_ml"]) == pytest.approx(truth.sum() * math.prod(SPACING_MM) / 1000)


def test_what_is_written(try_on, tmp_path):
    report = try_on(True, False, True, False, True, True)
    content = json.loads((tmp_path / "out" / "ab.json").read_text())
    assert content["verdict"]["sentence"] == report.verdict.sentence
    assert content["patients"] == {f"case_{index}": f"case_{index}" for index in range(6)}
    (whole,) = (
        change["result"]
        for change in content["changes"]
        if (change["group"], change["setting"], change["metric"]) == ("all cases", "coherent", "dice")
    )
    rows = {
        name: {row["case_id"]: float(row["dice"]) for row in scores(tmp_path / "out", name)}
        for name in ("argmax", "coherent")
    }
    gains = {case_id: rows["coherent"][case_id] - rows["argmax"][case_id] for case_id in rows["argmax"]}
    assert whole["mean_difference"] == pytest.approx(np.mean(list(gains.values())))
    assert [outcomes["threshold"] for outcomes in whole["outcomes"]] == [0, 0.01, 0.05]
    assert [(outcomes["wins"], outcomes["losses"]) for outcomes in whole["outcomes"]] == [(4, 2)] * 3
    (worst,) = (named["cases"] for named in content["worst"] if named["setting"] == "coherent")
    assert [case["case_id"] for case in worst] == sorted(gains, key=gains.get)[:5]
    groups = {change["group"].split(",")[0] for change in content["changes"]}
    assert groups == {"all cases", "smallest third", "middle third", "largest third"}
    with (tmp_path / "out" / "changes.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == len(content["changes"])
    (row,) = (
        row for row in table if (row["group"], row["setting"], row["metric"]) == ("all cases", "coherent", "dice")
    )
    assert (row["structure"], row["unit"], row["n_cases"], row["n_patients"]) == ("label 1", "", "6", "6")
    for column, scored in {"mean_argmax": "argmax", "mean_setting": "coherent"}.items():
        assert float(row[column]) == pytest.approx(np.mean(list(rows[scored].values())))
    before, after = (list(rows[name].values()) for name in ("argmax", "coherent"))
    assert float(row["mean_difference"]) == pytest.approx(np.mean(list(gains.values())))
    assert float(row["interval_low"]) < float(row["mean_difference"]) < float(row["interval_high"])
    assert float(row["wilcoxon_p"]) == pytest.approx(stats.wilcoxon(after, before).pvalue)
    assert float(row["sign_test_p"]) == pytest.approx(stats.binomtest(4, 6).pvalue)
    for points in (0, 1, 5):
        assert (row[f"better_by_{points}"], row[f"worse_by_{points}"]) == ("4", "2")
    assert {row["unit"] for row in table if row["metric"] == "hd95_mm"} == {"mm"}
    latex = (tmp_path / "out" / "ab.tex").read_text()
    assert latex.count(r"\begin{table}") == len(report.document.tables)
    assert r"\caption{Mean Dice. Change against argmax" in latex
    page = html.unescape((tmp_path / "out" / "ab.html").read_text())
    assert report.verdict.sentence in page
    assert page.count("data:image/png;base64,") == 2 == len(report.document.pictures)
    assert f"**{report.verdict.sentence}**" in (tmp_path / "out" / "ab.md").read_text()


@pytest.mark.slow
def test_processes_give_the_same(try_on, tmp_path):
    one = try_on(True, False, True)
    (tmp_path / "out").rename(tmp_path / "one")
    two = try_on(True, False, True, workers=2)
    assert pickle.dumps(one.result.changes) == pickle.dumps(two.result.changes)
    assert one.verdict == two.verdict


def test_inventing_is_a_loss(tmp_path):
    """A structure that is not there, and a peak that argmax passes over."""
    for index in range(6):
        foreground = np.zeros(SHAPE, np.float32)
        foreground[2:5, 2:5, 2:5] = 0.4
        save_probabilities(tmp_path / "probabilities", f"case_{index}", np.stack([1 - foreground, foreground]))
        save_label_map(tmp_path / "references" / f"case_{index}.nii.gz", np.zeros(SHAPE))
    cases = find_cases(tmp_path / "probabilities", tmp_path / "references")
    structures = structures_of(tmp_path / "probabilities", cases[0].study)
    report = run_ab(cases, structures, tmp_path / "always", presence="always")
    assert report.verdict.sentence.startswith("Do not decode: every setting lowers the mean Dice")
    assert report.result.changes_of("label 1", "dice")["RankSEG"].mean_difference == -1
    assert set(report.result.changes_of("label 1", "dice", "argmax empty")) == {"RankSEG", "coherent"}
    maybe = run_ab(cases, structures, tmp_path / "maybe", presence="maybe")
    assert maybe.result.changes_of("label 1", "dice")["coherent"].mean_difference == 0


def test_a_case_that_fails_is_in_no_number_and_named(try_on, tmp_path):
    write_case(tmp_path, "broken", 3, rim=True)
    broken = tmp_path / "probabilities" / "broken.npz"
    np.savez(broken, probabilities=np.full((2, *SHAPE[::-1]), 0.9, np.float32))
    report = try_on(*[True] * 6)
    assert list(report.result.argmax.failures) == ["broken"]
    assert report.result.changes_of("label 1", "dice")["RankSEG"].n_cases == 6
    assert any(note.startswith("Failed, in no number above: broken: ") for note in report.document.notes)


def test_images_are_shown_and_a_damaged_one_costs_its_picture_alone(tmp_path):
    for index in range(2):
        write_case(tmp_path, f"case_{index}", 3, rim=False)
        save_label_map(tmp_path / "images" / f"case_{index}.nii.gz", np.indices(SHAPE).sum(0))
    image = tmp_path / "images" / "case_1.nii.gz"
    image.write_bytes(gzip.compress(gzip.decompress(image.read_bytes())[:-100]))
    cases = find_cases(tmp_path / "probabilities", tmp_path / "references", images=tmp_path / "images")
    structures = structures_of(tmp_path / "probabilities", cases[0].study)
    report = run_ab(cases, structures, tmp_path / "out", presence="always")
    assert [picture.path.name for picture in report.document.pictures] == ["case_0.png"]
    assert any(note.startswith("No picture of case_1: ") for note in report.document.notes)
    assert list(report.result.argmax.scores) == ["case_0", "case_1"]


class TestErrors:
    def test_no_case_can_be_used(self, tmp_path):
        write_case(tmp_path, "broken", 3, rim=True)
        np.savez(tmp_path / "probabilities" / "broken.npz", probabilities=np.full((2, *SHAPE[::-1]), 0.9, np.float32))
        cases = find_cases(tmp_path / "probabilities", tmp_path / "references")
        with pytest.raises(StudyError, match=r"no case could be decoded and scored\n- .*broken\.npz: .*sum to one"):
            run_ab(cases, structures_of(tmp_path / "probabilities", cases[0].study), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_nothing_is_written_over(self, try_on, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
        with pytest.raises(FileExistsError, match="give a new folder"):
            try_on(True)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]

    def test_tuned_on_these(self, try_on, tmp_path):
        (tmp_path / "tuned.yaml").write_text("decoder::coherence: 0.5\n")
        (tmp_path / "tuned.json").write_text(json.dumps({"cases": ["case_1"]}))
        with pytest.raises(StudyError, match="case_1; give cases that tuning has not seen"):
            try_on(True, True, overlay=tmp_path / "tuned.yaml")
        assert not (tmp_path / "out").exists()
