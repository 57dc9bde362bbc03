import json
import math
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import numpy as np
import pytest

from rankseg_med.evaluation import evaluate, plan_evaluation
from tests.evaluation.conftest import save_label_map

REGIONS = {"whole": (1, 2), "tumour": (2,), "absent": (3,)}


def save(path, labels) -> None:
    save_label_map(path, labels, np.diag([1.0, 2.0, 3.0, 1.0]))


def line(*labels) -> np.ndarray:
    """4 x 3 x 2 voxels of which the first in a row have these labels."""
    volume = np.zeros((4, 3, 2), np.uint8)
    volume[: len(labels), 1, 1] = labels
    return volume


@pytest.fixture
def folders(tmp_path):
    """In b there is no tumour on either side; label 3 is nowhere."""
    for case_id, predicted, expected in (("a", (1, 1, 2, 0), (0, 1, 2, 2)), ("b", (1, 1), (1,))):
        save(tmp_path / "predictions" / f"{case_id}.nii.gz", line(*predicted))
        save(tmp_path / "references" / f"{case_id}.nii.gz", line(*expected))
    return tmp_path / "predictions", tmp_path / "references"


def written(folders, output, regions=REGIONS, **options) -> dict:
    evaluate(*folders, plan_evaluation(regions=regions, **options), output=output)
    return json.loads((output / "nnunet_summary.json").read_text())


def test_by_hand(folders, tmp_path):
    summary = written(folders, tmp_path / "scores")
    first, second = summary["metric_per_case"]
    assert first["prediction_file"] == str(folders[0] / "a.nii.gz")
    assert first["reference_file"] == str(folders[1] / "a.nii.gz")
    # Of 24 voxels, the first is predicted alone, the last in the reference alone, and two between them are in both.
    assert first["metrics"]["(1, 2)"] == {
        **{"TP": 2, "FP": 1, "FN": 1, "TN": 20, "n_pred": 3, "n_ref": 3},
        **{"Dice": pytest.approx(2 / 3), "IoU": 2 / 4},
    }
    assert first["metrics"]["2"] == {
        **{"TP": 1, "FP": 0, "FN": 1, "TN": 22, "n_pred": 1, "n_ref": 2},
        **{"Dice": pytest.approx(2 / 3), "IoU": 1 / 2},
    }
    assert math.isnan(second["metrics"]["2"]["Dice"])
    assert second["metrics"]["2"]["TN"] == 24
    assert summary["mean"]["2"]["Dice"] == pytest.approx(2 / 3)  # of a alone
    assert summary["mean"]["2"]["n_ref"] == 1
    assert summary["mean"]["(1, 2)"]["IoU"] == (2 / 4 + 1 / 2) / 2
    assert math.isnan(summary["foreground_mean"]["Dice"])  # of label 3 there is no mean
    assert summary["foreground_mean"]["FN"] == pytest.approx((0.5 + 0.5 + 0) / 3)


def test_the_rules_are_nnunets_whatever_was_scored(folders, tmp_path):
    """Dice of an absent tumour is 1 by the rules of KiTS, and surface Dice takes no counts."""
    plans = ({"preset": "nnunet"}, {"preset": "kits19"}, {"metrics": ["surface_dice"]}, {"preset": "bcp"})
    files = [written(folders, tmp_path / f"scores_{index}", **plan) for index, plan in enumerate(plans)]
    assert all(json.dumps(file) == json.dumps(files[0]) for file in files)


def test_counts_are_kept_with_the_scores(folders, tmp_path):
    first = json.dumps(written(folders, tmp_path / "scores"))
    statuses = []
    plan = plan_evaluation(regions=REGIONS)
    evaluate(*folders, plan, output=tmp_path / "scores", on_outcome=lambda outcome: statuses.append(outcome.status))
    assert statuses == ["skipped", "skipped"]
    assert json.dumps(json.loads((tmp_path / "scores" / "nnunet_summary.json").read_text())) == first


def test_cases_without_a_prediction(folders, tmp_path):
    (folders[0] / "b.nii.gz").unlink()
    plan = plan_evaluation(regions=REGIONS)
    for missing, cases in {"fail": 1, "empty": 2}.items():
        evaluate(*folders, plan, output=tmp_path / missing, missing=missing)
        found = json.loads((tmp_path / missing / "nnunet_summary.json").read_text())["metric_per_case"]
        assert len(found) == cases
    assert found[1]["prediction_file"] is None
    assert found[1]["metrics"]["(1, 2)"]["FN"] == 1


def test_no_case_could_be_scored(folders, tmp_path):
    for path in folders[0].iterdir():
        path.write_bytes(b"not a NIfTI file")
    summary = written(folders, tmp_path / "scores")
    assert summary["metric_per_case"] == []
    assert math.isnan(summary["mean"]["2"]["TP"])


@pytest.mark.parametrize(
    "regions", [REGIONS, {"organ": (1,), "tumour": (2,)}, {"both": (2, 1)}], ids=["regions", "labels", "one"]
)
def test_file_is_nnunets(folders, tmp_path, regions, monkeypatch):
    """Byte by byte what nnU-Net writes of the same files, and its loader reads it."""
    nnunet = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions", reason="nnunetv2 is not installed")
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    rng = np.random.default_rng(0)
    for case_id in ("c", "d", "e"):
        shape = tuple(rng.integers(5, 9, 3))
        for folder in folders:
            save(folder / f"{case_id}.nii.gz", rng.integers(0, 3, shape))
    written(folders, tmp_path / "scores", regions)
    # Its processes take longer to start than the work does.
    monkeypatch.setattr(
        nnunet, "multiprocessing", SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    )
    labels = [values[0] if len(values) == 1 else values for values in regions.values()]
    predictions, references = map(str, folders)
    theirs = tmp_path / "theirs.json"
    nnunet.compute_metrics_on_folder(references, predictions, str(theirs), SimpleITKIO(), ".nii.gz", labels, None, 2)
    assert (tmp_path / "scores" / "nnunet_summary.json").read_text() == theirs.read_text()
    loaded = nnunet.load_summary_json(str(tmp_path / "scores" / "nnunet_summary.json"))
    assert list(loaded["mean"]) == sorted(labels, key=str)
    assert json.dumps(loaded["foreground_mean"]) == json.dumps(json.loads(theirs.read_text())["foreground_mean"])


def test_an_ignored_label_is_background_here(tmp_path):
    """The one difference of the counts: of two predicted voxels, one lies on what nnU-Net would ignore."""
    nnunet = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions", reason="nnunetv2 is not installed")
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    files = tmp_path / "references" / "a.nii.gz", tmp_path / "predictions" / "a.nii.gz"
    save(files[0], line(1, 3))
    save(files[1], line(1, 1))
    theirs = nnunet.compute_metrics(*map(str, files), SimpleITKIO(), [1], ignore_label=3)["metrics"][1]
    (case,) = written(tuple(file.parent for file in reversed(files)), tmp_path / "scores", {"organ": (1,)})[
        "metric_per_case"
    ]
    assert [theirs[name] for name in ("TP", "FP", "TN")] == [1, 0, 22]
    assert [case["metrics"]["1"][name] for name in ("TP", "FP", "TN")] == [1, 1, 22]
