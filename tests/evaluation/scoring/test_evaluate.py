import csv
import json
import math
import re
from threading import Barrier, Event, Thread

import nibabel as nib
import numpy as np
import pytest

import rankseg_med
from rankseg_med.evaluation.scoring.evaluate import evaluate
from rankseg_med.evaluation.scoring.job import UNSCORED
from rankseg_med.evaluation.scoring.plan import plan_evaluation
from rankseg_med.executors import InProcesses
from rankseg_med.metrics import METRICS, EmptyPolicy, EmptyRule, Scoring, label_regions, score_label_maps
from rankseg_med.runs.run import RunOptions
from rankseg_med.runs.shard import Shard
from rankseg_med.studies import BidsFormat, OutputFile, Sidecar, StudyError

LABELS = {1: "liver", 2: "tumour"}
SPACING_MM = (1.0, 2.0, 3.0)


def label_map(seed):
    volume = np.zeros((8, 7, 6), dtype=np.uint8)
    volume[1:6, 1:5, 1:5] = 1
    volume[2:4, 2:4, 2 + seed % 2 : 4] = 2
    volume[1 + seed % 3, 1, 1] = 0
    return volume


def save(volume, path, spacing_mm=SPACING_MM):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, np.diag([*spacing_mm, 1.0])), path)


@pytest.fixture
def folders(tmp_path):
    """Predictions and references of the cases a, b and c."""
    for seed, case_id in enumerate("abc"):
        save(label_map(seed + 1), tmp_path / "predictions" / f"{case_id}.nii.gz")
        save(label_map(seed), tmp_path / "references" / f"{case_id}.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


def test_scores_are_those_of_the_label_maps(folders):
    visited = []
    evaluation = evaluate(*folders, LABELS, on_outcome=lambda outcome: visited.append(outcome.case.case_id))
    assert visited == list(evaluation.scores) == ["a", "b", "c"]
    for seed, rows in enumerate(evaluation.scores.values()):
        assert rows == score_label_maps(label_map(seed + 1), label_map(seed), label_regions(LABELS), SPACING_MM)
    assert not evaluation.failures
    assert not evaluation.warnings


def test_spacing_comes_from_the_file_whatever_its_orientation(tmp_path):
    # A line of two voxels against its first: 4 mm apart along the voxel axis that the affine sends to world x.
    affine = np.array([[0, -4.0, 0, 9], [2.0, 0, 0, 9], [0, 0, 3.0, 9], [0, 0, 0, 1]])
    for name, length in (("prediction", 2), ("reference", 1)):
        volume = np.zeros((4, 5, 3), dtype=np.uint8)
        volume[1, 1 : 1 + length, 1] = 1
        nib.save(nib.Nifti1Image(volume, affine), tmp_path / f"{name}.nii.gz")
    evaluation = evaluate(tmp_path / "prediction.nii.gz", tmp_path / "reference.nii.gz", {1: "liver"})
    ((liver,),) = evaluation.scores.values()
    assert liver.values["hd_mm"] == pytest.approx(4.0)
    assert liver.prediction_volume_ml == pytest.approx(2 * 24 / 1000)


def test_files_of_one_name_in_a_data_set_are_paired_by_their_ids(tmp_path):
    """An anatomical and a diffusion image of one subject: BIDS has both label maps called alike."""
    for side, label in (("predictions", 1), ("references", 0)):
        format = BidsFormat(tmp_path)
        for seed, kind in enumerate(("anat", "dwi")):
            image = tmp_path / kind / f"sub-1_{kind}.nii.gz"
            save(label_map(0), image)
            (path, *_) = format.paths_in(tmp_path / side, image.name[:-7], [image])
            format.write(label_map(seed + label), path, grid_of=image, names=LABELS, inputs=[image])
            outputs = {f"../{path.relative_to(tmp_path / side)}": OutputFile.of(path)}
            Sidecar.model_validate(
                {
                    **{"case_id": image.name[:-7], "job": "predict", "status": "done", "inputs": [], "time": ""},
                    **{"outputs": outputs, "input_fingerprint": "", "config_digest": "", "host": ""},
                }
            ).write(tmp_path / side / "logs")
    found = evaluate(tmp_path / "predictions", tmp_path / "references", LABELS)
    assert not found.failures
    for seed, case_id in enumerate(("sub-1_anat", "sub-1_dwi")):
        wanted = score_label_maps(label_map(seed + 1), label_map(seed), label_regions(LABELS), SPACING_MM)
        assert found.scores[case_id] == wanted
    # Without records there is nothing to tell them by.
    for path in (tmp_path / "references" / "logs").iterdir():
        path.unlink()
    (tmp_path / "references" / "sub-1" / "dwi" / "sub-1_dseg.nii.gz").unlink()
    with pytest.raises(StudyError, match="must have at least one case id in common"):
        evaluate(tmp_path / "predictions", tmp_path / "references", LABELS)


class TestFailures:
    def test_every_case_is_scored_or_failed(self, folders):
        predictions, references = folders
        (predictions / "a.nii.gz").unlink()
        (references / "b.nii.gz").unlink()
        (predictions / "damaged.nii.gz").write_bytes(b"not a NIfTI file")
        save(label_map(0), references / "damaged.nii.gz")
        save(label_map(0), predictions / "spacing.nii.gz")
        save(label_map(0), references / "spacing.nii.gz", spacing_mm=(1.0, 2.0, 3.5))
        save(label_map(0), predictions / "shape.nii.gz")
        save(label_map(0)[:-1], references / "shape.nii.gz")

        evaluation = evaluate(*folders, LABELS)

        assert list(evaluation.scores) == ["c"]
        assert list(evaluation.failures) == ["a", "b", "damaged", "shape", "spacing"]
        for case_id, reason in {
            "a": "no prediction",
            "b": "no reference",
            "damaged": "damaged.nii.gz",
            "shape": "(8, 7, 6)",
            "spacing": "spacing",
        }.items():
            assert reason in evaluation.failures[case_id]

    def test_no_case_in_common(self, folders, tmp_path):
        save(label_map(0), tmp_path / "others" / "z.nii.gz")
        with pytest.raises(StudyError, match=r"in common.*a, b, c.*z"):
            evaluate(folders[0], tmp_path / "others", LABELS)

    def test_no_predictions_at_all(self, folders, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(StudyError, match="holds no images"):
            evaluate(tmp_path / "empty", folders[1], LABELS)

    @pytest.mark.parametrize(("labels", "required"), [({}, "needs labels or regions"), ({0: "air"}, "positive value")])
    def test_labels_that_cannot_be_scored(self, folders, labels, required):
        with pytest.raises(ValueError, match=required):
            evaluate(*folders, labels)

    def test_values_without_a_label_are_reported(self, folders):
        stray = label_map(1)
        stray[0, 0, 0], stray[0, 0, 1] = 7, 255
        save(stray, folders[0] / "b.nii.gz")
        evaluation = evaluate(*folders, {1: "liver"})
        assert set(evaluation.scores) == set("abc")
        for case_id, value, side in (("b", 7, "prediction"), ("b", 255, "prediction"), ("c", 2, "reference")):
            (finding,) = [
                text
                for text in evaluation.warnings
                if text.startswith(f"{case_id}: value {value} occurs in the {side}")
            ]
            assert "not scored" in finding


def test_missing_predictions_are_what_the_user_says(folders):
    (folders[0] / "b.nii.gz").unlink()
    assert list(evaluate(*folders, LABELS).failures) == ["b"]
    ignored = evaluate(*folders, LABELS, missing="ignore")
    assert (list(ignored.scores), dict(ignored.failures)) == (["a", "c"], {})
    assert "b: no prediction; left out, as asked for" in ignored.warnings
    empty = evaluate(*folders, LABELS, missing="empty")
    assert (list(empty.scores), dict(empty.failures)) == (["a", "b", "c"], {})
    assert "b: no prediction; scored as empty, as asked for" in empty.warnings
    diagonal_mm = math.hypot(7 * 1.0, 6 * 2.0, 5 * 3.0)
    for row in empty.scores["b"]:
        assert (row.values["dice"], row.values["hd95_mm"]) == (0, pytest.approx(diagonal_mm))
    assert empty.foreground_mean("dice") < ignored.foreground_mean("dice")


def test_patterns(folders):
    """Of one name in many folders, as KiTS stores it."""
    for case_id in "abc":
        for name, folder in zip(("prediction", "segmentation"), folders, strict=True):
            path = folders[0].parent / "cases" / case_id / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((folder / f"{case_id}.nii.gz").read_bytes())
    pattern = folders[0].parent / "cases" / "*"
    whole = evaluate(*folders, LABELS)
    assert evaluate(pattern / "prediction.nii.gz", pattern / "segmentation.nii.gz", LABELS) == whole
    assert evaluate(folders[0], folders[1] / "?.nii.gz", LABELS) == whole


def test_single_files_are_paired_whatever_their_names(folders):
    evaluation = evaluate(folders[0] / "b.nii.gz", folders[1] / "a.nii.gz", LABELS)
    assert evaluation.scores == {"b": score_label_maps(label_map(2), label_map(0), label_regions(LABELS), SPACING_MM)}


class TestDataList:
    @pytest.fixture
    def data_list(self, folders):
        """The references as labels of a data list below the same root, with a and b in fold 0 and c in fold 1."""
        root = folders[1].parent
        training = []
        for case_id, fold in (("a", 0), ("b", 0), ("c", 1)):
            save(label_map(0), root / "images" / f"{case_id}.nii.gz")
            paths = {"image": f"images/{case_id}.nii.gz", "label": f"references/{case_id}.nii.gz"}
            training.append({"id": case_id, "fold": fold, **paths})
        save(label_map(0), root / "images" / "unlabelled.nii.gz")
        path = root / "lists" / "dataset.json"
        path.parent.mkdir()
        path.write_text(
            json.dumps(
                {
                    "name": "liver",
                    "labels": {"0": "background", "1": "liver", "2": "tumour"},
                    "training": training,
                    "test": ["images/unlabelled.nii.gz"],
                }
            )
        )
        return path

    def test_its_labels_are_the_references(self, folders, data_list):
        evaluation = evaluate(folders[0], data_list, LABELS, data_root=data_list.parent.parent)
        assert evaluation == evaluate(*folders, LABELS)

    def test_one_fold(self, folders, data_list):
        (folders[0] / "b.nii.gz").unlink()
        save(label_map(0), folders[0] / "unlisted.nii.gz")
        evaluation = evaluate(folders[0], data_list, LABELS, data_root=data_list.parent.parent, fold=0)
        assert list(evaluation.scores) == ["a"]
        assert list(evaluation.failures) == ["b", "unlisted"]  # c is of fold 1

    def test_of_ambiguous_predictions_those_of_the_fold_are_failures(self, folders, data_list):
        for case_id in "ac":
            save(label_map(0), folders[0] / f"{case_id}.nii")
        evaluation = evaluate(folders[0], data_list, LABELS, data_root=data_list.parent.parent, fold=0)
        assert list(evaluation.scores) == ["b"]
        assert list(evaluation.failures) == ["a"]  # c is of fold 1

    def test_every_unsound_line_is_a_failure_of_its_own(self, folders):
        path, lines = folders[1].parent / "list.csv", ["case_id,image,label,fold"]
        for case_id, fold in (("a", 0), ("b", 1), ("c", "many"), ("../d", 0), ("e", -1)):
            save(label_map(0), folders[1].parent / "images" / f"{case_id[-1]}.nii.gz")
            lines.append(f"{case_id},images/{case_id[-1]}.nii.gz,references/{case_id[-1]}.nii.gz,{fold}")
        path.write_text("\n".join(lines))
        (folders[0] / "c.nii.gz").unlink()
        for chosen, cases in ((None, ["a", "b"]), (0, ["a"])):
            evaluation = evaluate(folders[0], path, LABELS, fold=chosen, missing="ignore")
            assert list(evaluation.scores) == cases
            assert list(evaluation.failures) == [str(path), f"{path} (2)", f"{path} (3)"]
            assert [f"line {4 + n}:" in reason for n, reason in enumerate(evaluation.failures.values())] == [True] * 3

    @pytest.mark.parametrize("name", ["list.csv", "LIST.CSV"])
    def test_of_a_csv_too(self, folders, name):
        """Its images would pass for label maps: they are zero, so that every Dice against them is 0."""
        lines = ["case_id,image,label,fold"]
        for fold, case_id in enumerate("abc"):
            save(np.zeros_like(label_map(0)), folders[1].parent / "images" / f"{case_id}.nii.gz")
            lines.append(f"{case_id},images/{case_id}.nii.gz,references/{case_id}.nii.gz,{fold}")
        path = folders[1].parent / name
        path.write_text("\n".join(lines))
        evaluation = evaluate(folders[0], path, LABELS)
        assert evaluation == evaluate(*folders, LABELS)
        assert evaluation.foreground_mean("dice") > 0.7
        assert list(evaluate(folders[0], path, LABELS, fold=1).scores) == ["b"]

    def test_a_case_without_a_label_has_no_reference(self, folders, data_list):
        save(label_map(0), folders[0] / "unlabelled.nii.gz")
        evaluation = evaluate(folders[0], data_list, LABELS, data_root=data_list.parent.parent)
        assert list(evaluation.failures) == ["unlabelled"]
        assert "no reference" in evaluation.failures["unlabelled"]

    def test_without_any_label(self, folders):
        (folders[1].parent / "list.csv").write_text("case_id,image\na,references/a.nii.gz\n")
        with pytest.raises(StudyError, match="must name a label"):
            evaluate(folders[0], folders[1].parent / "list.csv", LABELS)

    def test_predictions_are_not_in_a_data_list(self, folders, data_list):
        with pytest.raises(StudyError, match=r"dataset\.json: is a data list, .* no predictions"):
            evaluate(data_list, folders[1], LABELS)

    def test_fold_needs_a_data_list(self, folders):
        with pytest.raises(StudyError, match="fold"):
            evaluate(*folders, LABELS, fold=0)


class TestFiles:
    @pytest.fixture
    def evaluation(self, folders, tmp_path):
        """Case c misses its tumour, case b has none on either side, and d has no reference."""
        predictions, references = folders
        for path in (predictions / "b.nii.gz", references / "b.nii.gz", predictions / "c.nii.gz"):
            save(np.minimum(label_map(0), 1), path)
        save(label_map(0), predictions / "d.nii.gz")
        policy = EmptyPolicy("ours", distance=EmptyRule("skip", 99.0, 99.0))
        scoring = Scoring(empty_policy=policy)
        return evaluate(*folders, LABELS, output=tmp_path / "new" / "result", scoring=scoring)

    def test_scores_csv(self, evaluation, tmp_path):
        with (tmp_path / "new" / "result" / "scores.csv").open(newline="") as stream:
            written = list(csv.DictReader(stream))
        assert [(row["case_id"], row["name"]) for row in written] == [
            (case_id, name) for case_id in "abc" for name in ("liver", "tumour")
        ]
        scores = [row for rows in evaluation.scores.values() for row in rows]
        for row, expected in zip(written, scores, strict=True):
            for metric in METRICS:
                assert float(row[metric]) == pytest.approx(expected.values[metric], rel=0, abs=0, nan_ok=True)
            assert float(row["prediction_volume_ml"]) == expected.prediction_volume_ml
            assert float(row["reference_volume_ml"]) == expected.reference_volume_ml

    def test_summary_json(self, evaluation, tmp_path):
        def refuse(constant):
            raise AssertionError(f"{constant} is not JSON")

        text = (tmp_path / "new" / "result" / "summary.json").read_text()
        summary = json.loads(text, parse_constant=refuse)

        dice = [rows[1].values["dice"] for rows in evaluation.scores.values()]
        assert math.isnan(dice[1])
        assert summary["regions"]["tumour"]["labels"] == [2]
        assert summary["regions"]["tumour"]["dice"] == {
            "mean": pytest.approx(dice[0] / 2),  # the missed tumour of c counts as 0
            "median": pytest.approx(dice[0] / 2),
            "sd": pytest.approx(dice[0] / 2**0.5),
            "min": 0,
            "max": dice[0],
            "n": 2,
            "n_undefined": 1,
            **{f"q{percent:02}": pytest.approx(dice[0] * percent / 100) for percent in (5, 25, 75, 95)},
            "mean_low": 0,  # a quarter of all samples of two draw one of them twice
            "mean_high": dice[0],
        }
        assert summary["regions"]["tumour"]["hd95_mm"]["max"] == 99
        liver, tumour = (summary["regions"][name]["dice"]["mean"] for name in ("liver", "tumour"))
        assert summary["foreground_mean"]["dice"] == pytest.approx((liver + tumour) / 2)
        assert (summary["n_scored"], summary["n_failed"]) == (3, 1)
        assert "no reference" in summary["failures"]["d"]
        assert summary["package_version"] == rankseg_med.__version__
        worst_unless_both = {"both_empty": "skip", "prediction_empty": "worst", "reference_empty": "worst"}
        assert summary["scoring"] == {
            "metrics": list(METRICS),
            "surface": "voxels",
            "empty_policy": {
                "name": "ours",
                "overlap": worst_unless_both,
                "distance": {"both_empty": "skip", "prediction_empty": 99, "reference_empty": 99},
                "surface_dice": worst_unless_both,
                "volume": {"both_empty": "skip", "prediction_empty": -1, "reference_empty": "skip"},
            },
        }

    def test_summary_csv(self, evaluation, tmp_path):
        with (tmp_path / "new" / "result" / "summary.csv").open(newline="") as stream:
            rows = {(row["region"], row["metric"]): row for row in csv.DictReader(stream)}
        assert list(rows) == [
            (region, metric) for region in ("liver", "tumour", "foreground_mean") for metric in METRICS
        ]
        first = evaluation.scores["a"][1].values["dice"]
        # Of first, undefined and 0: the missed tumour of c.
        tumour = rows["tumour", "dice"]
        assert list(tumour) == [
            *("region", "metric", "unit", "mean", "mean_low", "mean_high", "median", "sd", "min", "max"),
            *("q05", "q25", "q75", "q95", "n", "n_undefined", "n_failed"),
        ]
        assert [float(tumour[name]) for name in ("mean", "mean_low", "mean_high", "median", "sd", "min", "max")] == [
            *(first / 2, 0, first, first / 2, pytest.approx(first / 2**0.5), 0, first)
        ]
        assert [float(tumour[f"q{percent:02}"]) for percent in (5, 25, 75, 95)] == pytest.approx(
            [first * share for share in (0.05, 0.25, 0.75, 0.95)]
        )
        assert [tumour[name] for name in ("unit", "n", "n_undefined", "n_failed")] == ["", "2", "1", "1"]
        assert rows["tumour", "hd95_mm"]["unit"] == "mm"
        assert float(rows["tumour", "hd95_mm"]["max"]) == 99
        foreground = rows["foreground_mean", "dice"]
        assert float(foreground["mean"]) == (float(rows["liver", "dice"]["mean"]) + first / 2) / 2
        assert (foreground["n"], foreground["sd"], foreground["n_failed"]) == ("", "", "1")

    def test_tables(self, evaluation, tmp_path):
        dice = evaluation.scores["a"][1].values["dice"]
        cells = ("tumour", "Dice", f"{dice / 2:.4f}", f"0.0000 to {dice:.4f}", f"{dice / 2:.4f}")
        folder = tmp_path / "new" / "result"
        assert f"| {' | '.join(cells)} | " in (folder / "tables.md").read_text()
        assert f"{' & '.join(cells)} & " in (folder / "tables.tex").read_text()

    def test_summary_csv_leaves_undefined_numbers_out_and_says_voxels(self, folders, tmp_path):
        plan = plan_evaluation(preset="bcp", labels={9: "spleen"}, metrics=["relative_volume_difference", "hd95_mm"])
        evaluate(*folders, plan, output=tmp_path)
        with (tmp_path / "summary.csv").open(newline="") as stream:
            volume, distance, foreground, _ = csv.DictReader(stream)
        assert (volume["mean"], volume["max"], volume["n"], volume["n_undefined"]) == ("", "", "0", "3")
        assert foreground["mean"] == ""
        assert distance["unit"] == "voxel"

    @pytest.mark.slow
    def test_only_complete_files_lie_in_the_folder(self, folders, tmp_path, killed_while_writing):
        names = ["nnunet_summary.json", "scores.csv", "summary.csv", "summary.json", "tables.md", "tables.tex"]
        for name in ("scores.csv", "summary.json"):
            killed_while_writing(tmp_path / "result" / name)
        evaluate(*folders, LABELS, output=tmp_path / "result")
        assert sorted(path.name for path in (tmp_path / "result").iterdir()) == ["cases", *names]

    def test_pictures_stay_while_scores_do(self, folders, tmp_path):
        picture, mine = (tmp_path / "overlays" / name for name in ("worst_01_a.png", "mine.png"))
        evaluate(*folders, LABELS, output=tmp_path)
        for path in (picture, mine):
            path.parent.mkdir(exist_ok=True)
            path.touch()
        evaluate(*folders, LABELS, output=tmp_path)
        assert picture.exists()
        save(label_map(0), folders[0] / "a.nii.gz")
        evaluate(*folders, LABELS, output=tmp_path)
        assert (picture.exists(), mine.exists()) == (False, True)

    def test_a_class_without_any_defined_score_is_null(self, folders, tmp_path):
        evaluate(*folders, {9: "spleen"}, output=tmp_path)
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["regions"]["spleen"]["dice"]["mean"] is None
        assert summary["foreground_mean"]["dice"] is None


def test_intervals_draw_patients_where_they_are_known(folders, tmp_path):
    (tmp_path / "patients.csv").write_text("case_id,patient_id\na,p\nb,p\nc,q\n")
    save(label_map(0), folders[0] / "stranger.nii.gz")  # fails, so nobody asks whose it is
    evaluation = evaluate(*folders, LABELS, output=tmp_path, patients=str(tmp_path / "patients.csv"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["n_patients"] == 2
    assert summary["interval"].endswith("patients drawn")
    dice = evaluation.values("tumour", "dice")
    # Of two patients, a quarter of all samples is of either alone.
    bounds = sorted([(dice["a"] + dice["b"]) / 2, dice["c"]])
    assert [summary["regions"]["tumour"]["dice"][bound] for bound in ("mean_low", "mean_high")] == pytest.approx(bounds)

    evaluate(*folders, LABELS, output=tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["n_patients"] is None
    assert summary["interval"].endswith("cases drawn")
    with pytest.raises(ValueError, match="gives no patient for b, c"):
        evaluate(*folders, LABELS, patients="(a)")


class TestPlans:
    def test_regions_and_metrics(self, folders):
        plan = plan_evaluation(regions={"organ": (1, 2)}, metrics=["dice"])
        ((organ,), *_) = evaluate(*folders, plan).scores.values()
        assert organ.region.labels == (1, 2)
        assert list(organ.values) == ["dice"]

    def test_in_voxels(self, tmp_path):
        # One voxel beyond the end of a line, 2 mm long: 1 voxel, and the volume stays in ml.
        for name, length in (("prediction", 2), ("reference", 1)):
            volume = np.zeros((3, 4, 3), dtype=np.uint8)
            volume[1, 1 : 1 + length, 1] = 1
            save(volume, tmp_path / f"{name}.nii.gz")
        plan = plan_evaluation(preset="bcp", labels={1: "liver"})
        ((liver,),) = evaluate(tmp_path / "prediction.nii.gz", tmp_path / "reference.nii.gz", plan).scores.values()
        assert liver.values["asd_prediction_to_reference_mm"] == pytest.approx(1 / 2)
        assert liver.prediction_volume_ml == pytest.approx(2 * 6 / 1000)

    def test_lits_adds_its_results_and_names_what_it_cannot_score(self, folders, tmp_path):
        save(np.minimum(label_map(0), 1), folders[1] / "b.nii.gz")
        evaluation = evaluate(*folders, plan_evaluation(preset="lits", strict=True), output=tmp_path)
        assert list(evaluation.scores) == ["a", "c"]
        assert "strict mode needs 1 to 255 reference lesions" in evaluation.failures["b"]
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["lits"]["mode"] == "strict"
        assert summary["lits"]["lesion_recall_greater_zero"] == 1
        # They are no statistics of regions, and a table of their own.
        assert "| lesion\\_recall\\_greater\\_zero | 1.0000 |" in (tmp_path / "tables.md").read_text().splitlines()

    @pytest.mark.parametrize(("preset", "consequence"), [("lits", "counts as liver"), (None, "was not scored")])
    def test_what_becomes_of_a_strange_label(self, tmp_path, preset, consequence):
        """The LiTS script takes everything above 0 for liver: with the strange voxels its volume is right."""
        reference = np.zeros((5, 5, 5), np.uint8)
        reference[1:4, 1:4, 1:4], reference[2, 2, 2] = 1, 2
        prediction = np.where(reference == 1, 7, reference).astype(np.uint8)
        for name, labels in (("prediction", prediction), ("reference", reference)):
            save(labels, tmp_path / f"{name}.nii.gz")
        plan = plan_evaluation(preset="lits") if preset else plan_evaluation(labels={1: "liver", 2: "tumour"})
        evaluation = evaluate(tmp_path / "prediction.nii.gz", tmp_path / "reference.nii.gz", plan)
        (warning,) = evaluation.warnings
        assert "value 7 occurs in the prediction" in warning
        assert consequence in warning
        ((liver, _),) = evaluation.scores.values()
        assert liver.values["dice"] == (1 if preset else 0)

    @pytest.mark.parametrize("side", ["prediction", "reference"])
    @pytest.mark.parametrize(
        ("preset", "known", "strange", "likely"),
        [
            ("brats2023", (1, 2, 3), 4, None),
            ("brats2023", (1, 2), 4, "brats2020"),
            ("brats-nnunet", (1, 2), 4, "brats2020"),
            ("brats2020", (1, 2), 3, "brats2023 or brats-nnunet"),
            ("kits19", (1, 2), 3, "kits23"),
            ("kits23", (1, 2, 3), 4, None),
        ],
    )
    def test_a_label_that_a_preset_does_not_know_fails_the_case(self, folders, side, preset, known, strange, likely):
        for folder in folders:
            for case_id in "abc":
                save(label_map(0), folder / f"{case_id}.nii.gz")
        volume = label_map(0)
        volume[0, 0, : len(known) + 1] = *known, strange
        path = folders[side == "reference"] / "b.nii.gz"
        save(volume, path)
        evaluation = evaluate(*folders, plan_evaluation(preset=preset))
        assert (list(evaluation.scores), list(evaluation.failures)) == (["a", "c"], ["b"])
        reason = evaluation.failures["b"]
        assert reason.startswith(f"{path}: holds the labels {', '.join(map(str, (*known, strange)))}, ")
        assert f"but the preset {preset} knows" in reason
        assert (f"of the preset {likely}" if likely else "give regions of your own") in reason

    def test_regions_of_ones_own_know_what_to_score(self, folders):
        plan = plan_evaluation(preset="kits19", regions={"kidney": (1,)})
        evaluation = evaluate(*folders, plan)
        assert (len(evaluation.scores), len(evaluation.failures)) == (3, 0)
        assert any("value 2 occurs in the reference" in warning for warning in evaluation.warnings)

    def test_scores_of_another_convention_are_not_taken_over(self, folders, tmp_path):
        """Sidecars that say "done" of regions which know no strange label."""
        for folder in folders:
            save(np.where(label_map(0) == 2, 4, 1).astype(np.uint8), folder / "a.nii.gz")
        preset = plan_evaluation(preset="brats2023")
        own = {region.name: region.labels for region in preset.regions}
        evaluate(*folders, plan_evaluation(preset="brats2023", regions=own), output=tmp_path)
        assert list(evaluate(*folders, preset, output=tmp_path).failures) == ["a"]

    @pytest.mark.parametrize(
        ("wrong", "required"),
        [
            ({"preset": "brats"}, "brats2020: .*\n- brats2023: .*\n- brats-nnunet: "),
            ({}, "needs labels or regions"),
            ({"preset": "nnunet"}, "needs labels or regions"),
            ({"labels": {1: "a"}, "regions": {"a": (1,)}}, "one of them"),
            ({"preset": "lits", "labels": {1: "a"}}, "leave out labels"),
            ({"preset": "lits", "metrics": ["dice"]}, "leave out labels, regions and metrics"),
            ({"preset": "kits19", "strict": True}, "only the preset lits"),
            ({"labels": {1: "a"}, "metrics": ["dise"]}, "dise"),
        ],
    )
    def test_what_does_not_go_together(self, wrong, required):
        with pytest.raises(ValueError, match=required):
            plan_evaluation(**wrong)


@pytest.mark.slow
def test_processes_give_the_same_in_the_same_order(folders):
    (folders[0] / "b.nii.gz").write_bytes(b"not a NIfTI file")
    in_processes = RunOptions(executor=InProcesses(workers=2))
    assert evaluate(*folders, LABELS, run=in_processes) == evaluate(*folders, LABELS)


def test_resampling_to_the_reference_is_explicit_and_said(folders, tmp_path):
    fine = np.repeat(label_map(0), 2, axis=0)
    affine = np.diag([0.5, 2.0, 3.0, 1.0])
    affine[0, 3] = -0.25  # both grids cover the same places
    nib.save(nib.Nifti1Image(fine, affine), folders[0] / "a.nii.gz")
    assert "spacing" in evaluate(*folders, LABELS).failures["a"]
    evaluation = evaluate(*folders, LABELS, resample_to_reference=True, output=tmp_path)
    assert not evaluation.failures
    assert evaluation.scores["a"][0].values["dice"] == 1
    assert any(text.startswith("a: the prediction was resampled") for text in evaluation.warnings)
    assert json.loads((tmp_path / "summary.json").read_text())["resampled_to_reference"] == "nearest voxel"


def test_what_was_scored_before_is_taken_from_its_sidecar(folders, tmp_path):
    def run(**options) -> tuple[dict[str, str], object]:
        seen: dict[str, str] = {}
        evaluation = evaluate(
            *folders,
            LABELS,
            output=tmp_path / "scores",
            on_outcome=lambda outcome: seen.update({outcome.case.case_id: outcome.status}),
            **options,
        )
        return seen, evaluation

    first, evaluation = run()
    assert set(first.values()) == {"done"}
    second, again = run()
    assert set(second.values()) == {"skipped"}
    assert again == evaluation
    other, _ = run(scoring=Scoring(metrics=("dice",)))
    assert set(other.values()) == {"done"}
    changed = next(folders[0].iterdir())
    nib.save(nib.Nifti1Image(np.zeros_like(nib.load(changed).dataobj), nib.load(changed).affine), changed)
    run()
    nib.save(nib.Nifti1Image(np.ones_like(nib.load(changed).dataobj), nib.load(changed).affine), changed)
    third, _ = run()
    assert {case_id for case_id, status in third.items() if status == "done"} == {changed.name.split(".")[0]}


def test_shards_score_parts_and_a_run_over_all_gathers_them(folders, tmp_path):
    whole = evaluate(*folders, LABELS)
    parts = [evaluate(*folders, LABELS, output=tmp_path / "scores", shard=Shard(number, 2)) for number in (1, 2)]
    assert {case_id for part in parts for case_id in part.scores} == set(whole.scores)
    assert not (tmp_path / "scores" / "scores.csv").exists()
    statuses = []
    gathered = evaluate(
        *folders, LABELS, output=tmp_path / "scores", on_outcome=lambda outcome: statuses.append(outcome.status)
    )
    assert set(statuses) == {"skipped"}
    assert gathered == whole
    assert (tmp_path / "scores" / "scores.csv").exists()


@pytest.mark.parametrize("missing", ["fail", "empty", "ignore"])
@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.slow), 3, 9])
def test_shards_together_report_what_the_whole_does(folders, number, missing):
    """Missing and extra cases too, each by one shard."""
    for case_id in ("d", "e", "f", "g"):
        save(label_map(0), folders[0] / f"extra_{case_id}.nii.gz")
        save(label_map(0), folders[1] / f"missing_{case_id}.nii.gz")
    whole = evaluate(*folders, LABELS, missing=missing)
    parts = [evaluate(*folders, LABELS, missing=missing, shard=Shard(part, number)) for part in range(1, number + 1)]
    assert len(whole.failures) == (8 if missing == "fail" else 4)
    for told in ("scores", "failures"):
        gathered = [item for part in parts for item in getattr(part, told).items()]
        assert sorted(gathered, key=lambda item: item[0]) == list(getattr(whole, told).items())
    assert sorted(warning for part in parts for warning in part.warnings) == sorted(whole.warnings)


def test_a_stopped_run_says_what_it_has_not_scored(folders, tmp_path):
    stop = Event()
    stop.set()
    evaluation = evaluate(*folders, LABELS, run=RunOptions(stop=stop))
    assert evaluation.scores == {}
    assert set(evaluation.failures.values()) == {UNSCORED}
    # What the whole evaluation before has written stays.
    output = tmp_path / "scores"
    evaluate(*folders, LABELS, output=output)
    before = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    save(label_map(0), folders[0] / "new.nii.gz")
    save(label_map(0), folders[1] / "new.nii.gz")
    assert evaluate(*folders, LABELS, output=output, run=RunOptions(stop=stop)).failures["new"] == UNSCORED
    assert {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("status", ["failed", "started"])
def test_a_label_map_of_a_study_that_failed_is_not_scored(folders, status):
    """It is of the run before, whose settings may have been others; that of one that has not finished is warned of."""
    save(label_map(0), folders[0] / "new.nii.gz")
    save(label_map(0), folders[1] / "new.nii.gz")
    entries = {
        **{"case_id": "new", "job": "predict", "status": status, "inputs": [], "input_fingerprint": "0", "outputs": {}},
        **{"config_digest": "0", "settings": {}, "time": "2026-11-26T23:01:06+00:00", "host": "a:1", "versions": {}},
        **({"error": "the disk is full"} if status == "failed" else {}),
    }
    Sidecar.model_validate(entries).write(folders[0])
    (folders[0] / "other.json").write_text("{}")  # anybody's
    for missing in ("fail", "empty"):
        evaluation = evaluate(*folders, LABELS, missing=missing)
        if status == "failed":
            assert "new" not in evaluation.scores
            assert re.search(r"predict failed at .*earlier run's: the disk is full", evaluation.failures["new"])
        else:
            assert "new" in evaluation.scores
            assert any("new: " in one and "predict started at" in one for one in evaluation.warnings)


def written(folder) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {1: "organ"}},
        pytest.param({"missing": "empty"}, marks=pytest.mark.slow),
        pytest.param({"resample_to_reference": True}, marks=pytest.mark.slow),
    ],
)
def test_another_evaluation_of_the_folder_is_refused_while_one_lasts(folders, tmp_path, change):
    refusals = []

    def start_another(outcome) -> None:
        with pytest.raises(StudyError, match="works in this folder") as refusal:
            evaluate(*folders, **{"labels": LABELS, "output": tmp_path / "scores", **change})
        refusals.append(refusal)

    evaluation = evaluate(*folders, LABELS, output=tmp_path / "scores", on_outcome=start_another)
    assert len(refusals) == 3
    assert {row["name"] for row in written(tmp_path / "scores")} == set(LABELS.values())
    assert list(evaluation.scores) == ["a", "b", "c"]


def test_the_same_evaluation_three_times_at_once(folders, tmp_path):
    """Each returns and writes all scores, whoever computed them."""
    whole = evaluate(*folders, LABELS)
    barrier, results = Barrier(3), []

    def run() -> None:
        barrier.wait()
        results.append(evaluate(*folders, LABELS, output=tmp_path / "scores"))

    threads = [Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [whole] * 3
    assert [(row["case_id"], row["name"]) for row in written(tmp_path / "scores")] == [
        (case_id, name) for case_id in "abc" for name in LABELS.values()
    ]


def test_scores_are_those_that_were_computed_whatever_becomes_of_their_record(folders, tmp_path):
    def spoil(outcome) -> None:
        (tmp_path / "scores" / "cases" / f"{outcome.case.case_id}.json").write_text("{")

    assert evaluate(*folders, LABELS, output=tmp_path / "scores", on_outcome=spoil) == evaluate(*folders, LABELS)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("side", [0, 1])
def test_several_files_of_one_case_are_its_failure_alone(folders, side, shards):
    save(label_map(0), folders[side] / "b.nii")
    parts = [evaluate(*folders, LABELS, shard=Shard(number, shards)) for number in range(1, shards + 1)]
    assert {case_id for part in parts for case_id in part.scores} == {"a", "c"}
    (failure,) = (failure for part in parts for failure in part.failures.items())
    assert failure[0] == "b"
    assert "b.nii.gz" in failure[1]
    assert str(folders[side]) in failure[1]
