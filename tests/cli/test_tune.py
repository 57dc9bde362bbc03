"""From stored probabilities, or a network, to an overlay that `decode` and `predict` take."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from rankseg_med.calibration import load_calibration
from rankseg_med.decode import make_decoder
from rankseg_med.demo.phantom import make_phantom, write_phantom
from tests.cli.conftest import Result
from tests.evaluation.conftest import save_label_map, save_probabilities
from tests.evaluation.tuning.labelled_cases import calibrated_core, made, overconfident
from tests.voxels import voxels_of


def store(folder, population, cases):
    for case in made(population, cases, per_patient=1):
        save_probabilities(folder / "probabilities", case.case_id, case.probabilities().numpy())
        save_label_map(folder / "references" / f"{case.case_id}.nii.gz", case.truth)
    return folder / "probabilities", folder / "references"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return store(tmp_path_factory.mktemp("stored"), overconfident, 6)


def test_the_config_is_never_replaced_by_what_is_tuned(rankseg_med, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("extends: hippocampus")
    result = rankseg_med("tune", tmp_path, tmp_path, "--config", config, "-o", config)
    assert result.code == 2
    assert "is the config itself" in " ".join(result.err.replace("│", " ").split())
    assert config.read_text() == "extends: hippocampus"


def test_overlay_is_what_decode_takes(rankseg_med, stored, tmp_path):
    output = tmp_path / "tuned" / "lesions.yaml"
    result: Result = rankseg_med("tune", *stored, "--output", output, "--labels", "1=lesion", "--folds", 3)
    assert result.code == 0, result.err
    assert "50 settings" in result.out
    assert f"{output}: Use dice, isotonic by" in result.out.splitlines()[-1]
    assert "6 patients are few" in result.err
    assert {path.name for path in output.parent.iterdir()} == {
        *("lesions.yaml", "lesions.calibration.json", "lesions.record.json", "lesions.md", "lesions.reliability.png")
    }

    overlay = yaml.safe_load(output.read_text())
    assert list(overlay) == ["decoder", "calibration", "cleanup"]
    assert overlay["calibration"] == str(output.with_name("lesions.calibration.json"))
    assert (tmp_path / "tuned" / "lesions.reliability.png").read_bytes().startswith(b"\x89PNG")

    decoded = rankseg_med("decode", stored[0], "--config", output, "--output", tmp_path / "decoded")
    assert decoded.code == 0, decoded.err
    (case, *_) = made(overconfident, 6)
    probabilities = load_calibration(output.with_name("lesions.calibration.json")).probabilities(case.probabilities())
    options = {key: value for key, value in overlay["decoder"].items() if key != "_target_"}
    by_hand = make_decoder(**options)(probabilities).numpy()
    written = voxels_of(tmp_path / "decoded" / f"{case.case_id}.nii.gz")
    np.testing.assert_array_equal(written, by_hand)
    assert 0 < written.sum() < (case.foreground > 0.5).sum()


def test_record_says_what_it_rests_on(rankseg_med, stored, tmp_path):
    output = tmp_path / "tuned.yaml"
    patients = tmp_path / "patients.csv"
    rows = [f"case{number:03},{'ab'[number] if number < 2 else number}" for number in range(6)]
    patients.write_text("\n".join(["case_id,patient_id", *rows]))
    options = ("--patients", patients, "--folds", 2, "--seed", 7, "--score", "iou", "--empty-score", 0)
    assert rankseg_med("tune", *stored, "--output", output, *options).code == 0
    record = json.loads(output.with_name("tuned.record.json").read_text())
    assert record["cases"] == [f"case{number:03}" for number in range(6)]
    assert record["patients"]["case001"] == "b"
    assert sorted(patient for fold in record["folds"] for patient in fold) == sorted([*"ab", *"2345"])
    assert (record["seed"], record["score"], record["empty_score"]) == (7, "iou", 0)
    assert len(record["settings"]) == 50
    assert record["presence"] == {"label 1": "always"}
    argmax = record["settings"][0]
    assert (argmax["setting"]["decoder"], argmax["gain"], argmax["worse"]) == ("argmax", 0, 0)
    assert set(argmax) == {"setting", "mean", "regions", "gain", "interval", "p", "near", "better", "worse"}
    (chosen,) = [tried for tried in record["settings"] if tried["setting"] == record["chosen"]]
    assert chosen["mean"] > argmax["mean"]
    assert set(record["reliability"]["voxels"]) == {"none", "temperature", "isotonic by cases", "isotonic by voxels"}
    assert "aurc" in record["quality"]["label 1"]["soft Dice"]
    assert {"rankseg_med", "torch"} <= set(record["versions"])
    assert len(record["fixed_thresholds"]) == 19


@pytest.mark.slow
def test_argmax_leaves_no_calibration(rankseg_med, tmp_path):
    output = tmp_path / "tuned.yaml"
    assert rankseg_med("tune", *store(tmp_path, calibrated_core, 5), "--output", output).code == 0
    decoder = {"_target_": "rankseg_med.decode.make_decoder", "name": "argmax"}
    assert yaml.safe_load(output.read_text()) == {"decoder": decoder, "calibration": None, "cleanup": None}
    assert not output.with_name("tuned.calibration.json").exists()


def test_nothing_is_written_of_too_few_cases(rankseg_med, tmp_path):
    result = rankseg_med("tune", *store(tmp_path, overconfident, 4), "--output", tmp_path / "out" / "tuned.yaml")
    assert result.code == 1
    assert "error: tuning needs at least 5 patients" in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--checkpoint", "demo"), "--checkpoint needs --config"),
        (("--channels", "2"), "--channels means nothing without a network"),
        (("--device", "cpu"), "--device means nothing without a network"),
        (("--config", "demo", "--labels", "1=organ"), "--labels means nothing with a network"),
        (("--empty-score", "2"), "less than or equal to 1"),
    ],
)
def test_options_that_mean_nothing(rankseg_med, stored, tmp_path, options, message):
    result = rankseg_med("tune", *stored, "--output", tmp_path / "tuned.yaml", *options)
    assert result.code == 2
    assert message in " ".join(result.err.replace("│", " ").split())


@pytest.mark.slow
def test_a_network_is_run_and_its_overlay_predicts(rankseg_med, tmp_path):
    for seed in range(5):
        phantom = make_phantom(seed, shape=(32, 28, 24), spacing_mm=(9.0, 9.0, 10.0))
        name = f"phantom{seed}.nii.gz"
        write_phantom(phantom, tmp_path / "images" / name, tmp_path / "labels" / name)
    output, network = tmp_path / "tuned.yaml", ("--checkpoint", "demo", "--device", "cpu")
    folders = (tmp_path / "images", tmp_path / "labels")
    result = rankseg_med("tune", *folders, "--output", output, "--config", "demo", *network, "--folds", 2)
    assert result.code == 0, result.err
    assert yaml.safe_load(output.read_text())["extends"] == "demo"
    assert set(json.loads(output.with_name("tuned.record.json").read_text())["structures"]) == {"organ", "tumour"}
    predicted = rankseg_med("predict", folders[0], "--config", output, *network, "--output", tmp_path / "predicted")
    assert predicted.code == 0, predicted.err
    assert len(list((tmp_path / "predicted").glob("*.nii.gz"))) == 5
    assert torch.tensor(nib.load(tmp_path / "predicted" / "phantom0.nii.gz").get_fdata()).any()
