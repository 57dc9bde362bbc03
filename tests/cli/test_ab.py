import csv
import json

import pytest

from rankseg_med.demo.phantom import make_phantom, write_phantom
from tests.evaluation.rim_cases import write_case


@pytest.fixture
def folders(tmp_path):
    for index in range(6):
        write_case(tmp_path, f"p{index}_scan", 3 + index % 5, rim=True)
    return tmp_path / "probabilities", tmp_path / "references"


def test_tables_verdict_and_files(rankseg_med, folders, tmp_path):
    overlay = tmp_path / "tuned.yaml"
    overlay.write_text("decoder::coherence: 0.5\n")
    (tmp_path / "tuned.json").write_text(json.dumps({"cases": ["p9_scan"]}))
    result = rankseg_med(
        *("ab", *folders, "--output", tmp_path / "out", "--config", overlay, "--presence", "always"),
        *("--labels", "1=nodule", "--patients", "(p.)_"),
    )
    assert result.code == 0, result.err
    for text in ("Mean Dice", "Mean HD95 in mm", "nodule", "argmax", "RankSEG", "coherent", "tuned", "6/0", "p0_scan"):
        assert text in result.out
    assert result.out.splitlines()[-1].startswith("Use RankSEG: it changes the mean Dice against argmax by +")
    assert "'kits'" in result.out
    assert "record of its tuning" not in result.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"ab.html", "ab.json", "ab.md", "ab.tex", "changes.csv", "scores"}
    compared = rankseg_med("compare", tmp_path / "out" / "scores" / "argmax", tmp_path / "out" / "scores" / "tuned")
    assert compared.code == 0
    assert "> 0.01: 6/0/0" in compared.out


def test_iou_and_the_policy_for_empty_masks(rankseg_med, folders, tmp_path):
    options = ("--metric", "iou", "--empty-policy", "nnunet")
    result = rankseg_med("ab", *folders, "--output", tmp_path / "out", *options)
    assert result.code == 0, result.err
    for text in ("Mean Dice", "Mean IoU", "IoU by group of cases", "'nnunet'"):
        assert text in result.out
    assert "the mean IoU" in result.out


def test_a_failing_case(rankseg_med, folders, tmp_path):
    (folders[0] / "p3_scan.npz").write_bytes((folders[0] / "p3_scan.npz").read_bytes()[:200])
    result = rankseg_med("ab", *folders, "--output", tmp_path / "out")
    assert result.code == 1
    assert "Failed, in no number above: p3_scan: " in result.err
    assert "5 of the at least 6 patients" in result.out


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--config", "nowhere"), 1, "no such config file"),
        (("--presence", "perhaps"), 2, "perhaps"),
        (("--labels", "1=a", "--regions", "a=1"), 2, "give one of them"),
        (("--labels", "7=a"), 1, "labels are 1 to 1; got 7"),
        (("--patients", "(p0)_"), 1, "gives no patient for p1_scan"),
        (("--fold", "1"), 1, "choose from a data list"),
    ],
)
def test_wrong_options(rankseg_med, folders, tmp_path, options, code, message):
    result = rankseg_med("ab", *folders, "--output", tmp_path / "out", *options)
    assert result.code == code
    assert message in " ".join((result.out + result.err).replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_tuned_on_the_same_patient(rankseg_med, folders, tmp_path):
    (tmp_path / "tuned.yaml").write_text("decoder::coherence: 0.5\n")
    (tmp_path / "tuned.json").write_text(json.dumps({"cases": ["p3_old", "p9_old"]}))
    options = ("--config", tmp_path / "tuned.yaml", "--patients", "(p.)_")
    result = rankseg_med("ab", *folders, "--output", tmp_path / "out", *options)
    assert result.code == 1
    assert "p3_scan (of patient p3); give cases that tuning has not seen" in result.err


@pytest.mark.slow
def test_a_network_is_run_as_predict_runs_it(rankseg_med, tmp_path):
    for seed in range(2):
        phantom = make_phantom(seed, shape=(32, 28, 24), spacing_mm=(9.0, 9.0, 10.0))
        write_phantom(phantom, tmp_path / "images" / f"p{seed}.nii.gz", tmp_path / "labels" / f"p{seed}.nii.gz")
    overlay, folders = tmp_path / "own.yaml", (tmp_path / "images", tmp_path / "labels")
    overlay.write_text("extends: demo\ncleanup: null\ndecoder::coherence: 0.5\n")
    network = ("--config", overlay, "--checkpoint", "demo", "--device", "cpu")
    result = rankseg_med("ab", *folders, *network, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    assert "has no record of its tuning" in result.err
    for setting, options in {"argmax": ("--decoder", "argmax"), "tuned": ()}.items():
        predicted = tmp_path / f"predicted_{setting}"
        assert rankseg_med("predict", folders[0], *network, *options, "--output", predicted).code == 0
        scored = ("--labels", "1=organ,2=tumour", "--output", tmp_path / f"scores_{setting}")
        assert rankseg_med("evaluate", predicted, folders[1], *scored).code == 0
        expected = dice_in(tmp_path / f"scores_{setting}" / "scores.csv")
        assert dice_in(tmp_path / "out" / "scores" / setting / "scores.csv") == expected
        assert len(expected) == 4


def dice_in(scores):
    with scores.open(newline="") as stream:
        return {(row["case_id"], row["name"]): float(row["dice"]) for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--checkpoint", "demo"), "--checkpoint needs --config"),
        (("--checkpoint", "demo", "--config", "demo", "--labels", "1=organ"), "--labels means nothing with a network"),
        (("--channels", "2"), "--channels means nothing without a network"),
    ],
)
def test_options_that_mean_nothing(rankseg_med, folders, tmp_path, options, message):
    result = rankseg_med("ab", *folders, "--output", tmp_path / "out", *options)
    assert result.code == 2
    assert message in " ".join(result.err.replace("│", " ").split())
