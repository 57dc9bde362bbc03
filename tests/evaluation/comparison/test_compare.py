import json
import math

import nibabel as nib
import numpy as np
import pytest

import rankseg_med
from rankseg_med.errors import InputError
from rankseg_med.evaluation.comparison.compare import compare
from rankseg_med.evaluation.comparison.run_ranking import compare_runs
from rankseg_med.evaluation.scoring.evaluate import evaluate
from rankseg_med.metrics import EmptyPolicy, Scoring
from rankseg_med.metrics.paired import CaseDifference, Outcomes, compare_paired

A = """case_id,name,dice,hd95_mm,relative_volume_difference,comment
p1_a,liver,0.9,10,0.1,x
p1_a,tumour,0.5,30,0.1,x
p1_b,liver,0.8,12,0.1,x
p1_b,tumour,nan,nan,nan,x
p2_a,liver,0.7,14,0.1,x
p2_a,tumour,0.1,50,0.1,x
"""
# Columns and cases in another order; p2_a failed, and p3_a is new.
B = """name,case_id,hd95_mm,dice
liver,p3_a,9,0.5
tumour,p3_a,9,0.5
liver,p1_b,12.5,0.85
tumour,p1_b,80,0.0
liver,p1_a,8,0.9
tumour,p1_a,29,0.75
"""


@pytest.fixture
def runs(tmp_path):
    folders = []
    for name, table, failures in (("a", A, {}), ("b", B, {"p2_a": "no prediction"})):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "scores.csv").write_text(table)
        (folder / "summary.json").write_text(json.dumps({"failures": failures}))
        folders.append(folder)
    return folders


def test_every_region_and_metric(runs):
    comparisons = compare(*runs, ["dice", "hd95_mm"])
    assert [(row.region, row.metric) for row in comparisons] == [
        ("liver", "dice"),
        ("liver", "hd95_mm"),
        ("tumour", "dice"),
        ("tumour", "hd95_mm"),
    ]
    dice, distance, tumour, _ = (row.result for row in comparisons)
    assert dice == compare_paired(
        {"p1_a": 0.9, "p1_b": 0.8, "p2_a": 0.7}, {"p1_a": 0.9, "p1_b": 0.85, "p2_a": math.nan, "p3_a": 0.5}
    )
    assert dice.unpaired == {"p2_a": "no score in B", "p3_a": "no score in A"}
    # Distances in mm: less is better, and a change of at most a millimetre is a tie.
    assert distance.outcomes == (Outcomes(0.0, wins=1, ties=0, losses=1), Outcomes(1.0, wins=1, ties=1, losses=0))
    assert distance.best == CaseDifference("p1_a", -2.0)
    assert set(tumour.unpaired) == {"p1_b", "p2_a", "p3_a"}


def test_options_reach_the_statistics(runs):
    (liver, _) = compare(*runs, patients="(p.)_", thresholds=[0.25])
    assert (liver.result.n_cases, liver.result.n_patients) == (2, 1)
    assert [row.threshold for row in liver.result.outcomes] == [0.25]


def test_cases_without_a_score_need_no_patient(runs):
    failures = {"/predictions (2)": "cannot be listed", "stranger": "no reference"}
    (runs[1] / "summary.json").write_text(json.dumps({"failures": failures}))
    (liver, _) = compare(*runs, patients="^(p.)_")
    assert (liver.result.n_cases, liver.result.n_patients) == (2, 1)
    runs = {"a": runs[0], "b": runs[1], "c": runs[0]}
    assert len(compare_runs(runs, patients="^(p.)_").rankings) == 2


def test_without_a_summary_the_table_speaks_alone(runs):
    (runs[1] / "summary.json").unlink()
    assert compare(*runs)[0].result.unpaired == {"p2_a": "no score in B", "p3_a": "no score in A"}


def test_json(runs, tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    output = tmp_path / "new" / "comparison.json"
    compare(*runs, output=output)
    content = json.loads(output.read_text(), parse_constant=refuse)
    assert content["package_version"] == rankseg_med.__version__
    assert (content["run_a"], content["run_b"]) == tuple(map(str, runs))
    liver, tumour = content["comparisons"]
    assert (liver["region"], liver["metric"]) == ("liver", "dice")
    assert liver["result"]["mean_difference"] == pytest.approx(0.025)
    assert liver["result"]["best"] == {"case_id": "p1_b", "difference": pytest.approx(0.05)}
    assert tumour["result"]["n_cases"] == 1
    assert tumour["result"]["interval"] == [None, None]
    assert [path.name for path in output.parent.iterdir()] == ["comparison.json"]


def test_what_evaluate_writes_is_what_it_reads(tmp_path):
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    for index in range(3):
        for run, start in (("reference", 2), ("a", 3), ("b", 2 + index % 2)):
            volume = np.roll(labels, start - 2, axis=0)
            (tmp_path / run).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / run / f"case_{index}.nii.gz")
    for run in "ab":
        evaluate(tmp_path / run, tmp_path / "reference", {1: "cube"}, output=tmp_path / "scores" / run)
    comparisons = compare(tmp_path / "scores" / "a", tmp_path / "scores" / "b", ["dice", "hd95_mm"])
    dice, distance = (row.result for row in comparisons)
    # A cube of 4 shifted by 1: Dice 3/4, HD95 1 mm. Run b shifts the middle case only.
    assert (dice.mean_a, dice.mean_b) == pytest.approx((3 / 4, 11 / 12))
    assert (distance.mean_a, distance.mean_b) == pytest.approx((1, 1 / 3))
    assert (dice.outcomes[1].wins, dice.outcomes[1].ties) == (distance.outcomes[0].wins, 1) == (2, 1)


class TestUnits:
    @pytest.fixture
    def measure(self, runs):
        def measure(*units):
            for folder, unit in zip(runs, units, strict=True):
                (folder / "summary.json").write_text(json.dumps({"failures": {}, "distance_unit": unit}))
            return compare(*runs, ["dice", "hd95_mm"])

        return measure

    def test_voxels_are_said(self, measure):
        assert {row.distance_unit for row in measure("voxel", "voxel")} == {"voxel"}

    def test_millimetres_and_voxels_are_not_compared(self, measure, runs):
        with pytest.raises(ValueError, match="must have hd95_mm of liver with one unit, got mm and voxel; evaluate"):
            measure("mm", "voxel")
        assert len(compare(*runs, ["dice"])) == 2


class TestDefinitions:
    """Scores that mean different things are not compared."""

    @pytest.fixture
    def score(self, tmp_path):
        label_map = np.zeros((6, 6, 6), np.uint8)
        label_map[1:5, 1:5, 1:3], label_map[1:5, 1:5, 3:5] = 1, 2
        nib.save(nib.Nifti1Image(label_map, np.eye(4)), tmp_path / "case.nii.gz")

        def score(name, labels=None, **scoring):
            case, output = tmp_path / "case.nii.gz", tmp_path / name
            evaluate(case, case, labels or {2: "tumour"}, output=output, scoring=Scoring(**scoring))
            return output

        return score

    def test_rules_for_empty_masks(self, score):
        runs = score("a"), score("b", empty_policy=EmptyPolicy.named("kits"))
        both = "both_empty skip, prediction_empty worst, reference_empty worst and both_empty 1.0, prediction_empty 0.0"
        with pytest.raises(InputError, match=f"b must have dice of tumour with one rule for empty masks, got {both}"):
            compare(*runs)
        # Of distances these policies say the same.
        assert len(compare(*runs, ["hd95_mm"])) == 1

    def test_surfaces(self, score):
        runs = score("a"), score("b", surface="surfels")
        for metric in ("hd95_mm", "surface_dice"):
            with pytest.raises(
                InputError, match=f"{metric} of tumour with one kind of surface, got voxels and surfels"
            ):
                compare(*runs, [metric])
        assert len(compare(*runs, ["dice"])) == 1

    def test_labels_of_a_region(self, score):
        with pytest.raises(InputError, match=r"dice of tumour with one set of labels, got \[2\] and \[1\]"):
            compare(score("a"), score("b", {1: "tumour"}))

    def test_tolerances(self, score):
        runs = score("a"), score("b")
        summary = json.loads((runs[1] / "summary.json").read_text())
        summary["regions"]["tumour"]["tolerance_mm"] = 2.5
        (runs[1] / "summary.json").write_text(json.dumps(summary))
        with pytest.raises(InputError, match=r"surface_dice of tumour with one tolerance in mm, got 1\.0 and 2\.5"):
            compare(*runs, ["surface_dice"])
        assert len(compare(*runs, ["dice", "hd95_mm"])) == 2

    def test_what_a_run_does_not_say_is_not_held_against_it(self, score):
        runs = score("a"), score("b", surface="surfels")
        (runs[1] / "summary.json").unlink()
        assert len(compare(*runs, ["hd95_mm"])) == 1

    def test_runs_after_one_that_says_nothing(self, score):
        runs = score("a"), score("b"), score("c", empty_policy=EmptyPolicy.named("kits"))
        (runs[0] / "summary.json").unlink()
        with pytest.raises(InputError, match=r"b and .*c must have dice of tumour with one rule for empty masks"):
            compare_runs({run.name: run for run in runs})


class TestErrors:
    def test_no_table(self, runs, tmp_path):
        with pytest.raises(ValueError, match=r"holds no scores.csv; give a folder that rankseg-med evaluate"):
            compare(runs[0], tmp_path / "nowhere")

    @pytest.mark.parametrize(
        ("metric", "message"),
        [
            ("assd_mm", "scores.csv: needs the column assd_mm, got case_id, name, dice"),
            ("comment", "comment of p1_a must be a number, got 'x'"),
        ],
    )
    def test_metrics_that_cannot_be_compared(self, runs, metric, message):
        with pytest.raises(ValueError, match=message):
            compare(*runs, [metric])

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("name,dice\nliver,0.5\n", "needs the columns case_id and name"),
            ("case_id,name,dice\np,liver,0.5\np,liver,0.6\n", "has liver of p twice"),
            ("case_id,name,dice\np1_a,liver,0.5\n", r"same regions, got \['liver', 'tumour'\] and \['liver'\]"),
            ("case_id,name,dice\nz,liver,0.5\nz,tumour,0.5\n", "must have a case in common"),
            ("case_id,name,dice\np1_a,liver\np1_a,tumour,1\n", "dice of p1_a must be a number, got None"),
            ("", "needs the columns"),
            ("case_id,name,dice\n", "b: has no scored case, but 1 that failed"),
            ("case_id,name,dice\np,L\xe9sion,0.5\n", "must be CSV in UTF-8"),
        ],
    )
    def test_tables_that_cannot_be_compared(self, runs, table, message):
        (runs[1] / "scores.csv").write_text(table, encoding="latin-1")
        with pytest.raises(ValueError, match=message):
            compare(*runs)

    @pytest.mark.parametrize("summary", ["{", "[]", "{}"])
    def test_a_summary_of_something_else(self, runs, summary):
        (runs[1] / "summary.json").write_text(summary)
        with pytest.raises(InputError, match=r"summary.json: must be what evaluate writes"):
            compare(*runs)
