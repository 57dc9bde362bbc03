"""The supervised recipes on phantoms that lie as LiTS, KiTS and the Decathlon's tasks do."""

import csv
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import yaml

from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.studies import Manifest

CASES = 25
"""Five in each fold."""


def phantom(number):
    return make_phantom(number, shape=(24, 20, 16), spacing_mm=(12.0, 12.0, 12.0))


def with_cysts(study):
    halves = np.arange(study.labels.shape[0])[:, None, None] % 2
    return replace(study, labels=np.where((study.labels == 2) & (halves == 1), 3, study.labels))


def write_lits(data):
    for number in range(CASES):
        batch = data / f"Training Batch {1 + number // 13}"
        write_phantom(phantom(number), batch / f"volume-{number}.nii", batch / f"segmentation-{number}.nii")


def write_kits(data):
    for number in range(CASES):
        case = data / f"case_{number:05}"
        write_phantom(with_cysts(phantom(number)), case / "imaging.nii.gz", case / "segmentation.nii.gz")


def write_task(data):
    names = [f"hippocampus_{3 * number + 1:03}.nii.gz" for number in range(CASES)]
    for number, name in enumerate(names):
        write_phantom(phantom(number), data / "imagesTr" / name, data / "labelsTr" / name)
        (data / "imagesTr" / f"._{name}").write_bytes(b"\0\5\26\7")  # as macOS packed the tasks
    listed = {
        "name": "Hippocampus",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": ["./imagesTs/hippocampus_999.nii.gz"],
    }
    (data / "dataset.json").write_text(json.dumps(listed))


RECIPES = {
    "lits.py": (write_lits, "lits", (), {"liver", "lesion"}),
    "kits.py": (write_kits, "kits", ("--challenge", "kits23"), {"kidney_and_mass", "mass", "tumour"}),
    "decathlon.py": (write_task, "hippocampus", (), {"Anterior", "Posterior"}),
}


def ids_of(path):
    return {entry.id for entry in Manifest.read(path).training}


def dice_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return {(row["case_id"], row["name"]): float(row["dice"] or "nan") for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("script", RECIPES)
def test_from_the_download_to_a_verdict_and_on_again(run_recipe, tmp_path, script):
    write, config, options, structures = RECIPES[script]
    data, work = tmp_path / "Task04_Hippocampus", tmp_path / "work"
    data.mkdir()
    write(data)

    def run(*more):
        return run_recipe(script, data, work, *options, *more, configs={"--config": config})

    scoring = ["predict", "evaluate"] * 2
    commands = run()
    assert [command[0] for command in commands] == ["train", "tune", *scoring, "ab"]
    assert [option(command, "--config") for command in commands if command[0] in ("predict", "ab")] == [
        str(work / path) for path in ("argmax/argmax.yaml", "tuned/tuned.yaml", "tuned/tuned.yaml")
    ]
    test, tuning = (ids_of(work / f"{name}.json") for name in ("test", "tuning"))
    record = json.loads((work / "run" / "training.json").read_text())
    trained = {study["case_id"] for study in record["training"]}
    assert (len(trained), len(tuning), len(test)) == (15, 5, 5)
    assert len(trained | tuning | test) == CASES
    tuned = json.loads((work / "tuned" / "tuned.record.json").read_text())
    assert (set(tuned["cases"]), set(tuned["structures"])) == (tuning, structures)
    verdict = json.loads((work / "ab" / "ab.json").read_text())
    assert (set(verdict["patients"]), set(verdict["structures"])) == (test, structures)
    for name in ("argmax", "tuned"):
        scores, compared = (dice_of(work / path / "scores.csv") for path in (f"{name}/scores", f"ab/scores/{name}"))
        assert scores.keys() == compared.keys() == set(product(test, structures))
        # That no score is where both are empty depends on the preset.
        assert scores == pytest.approx(
            {key: compared[key] if scores[key] >= 0 else np.nan for key in scores}, nan_ok=True
        )
    decoder = yaml.safe_load((work / "tuned" / "tuned.yaml").read_text())["decoder"]
    (case, *_) = sorted(test)
    assert_decoded_by(decoder, json.loads((work / "tuned" / "predictions" / f"{case}.json").read_text()))
    assert [command[0] for command in run()] == scoring, "what is trained, tuned and compared is that"
    shipped = (work / "config.yaml").read_text()
    with pytest.raises(SystemExit, match=r"holds results of other settings \(seed: was 0, is now 1\)"):
        run("--seed", 1)
    assert (work / "config.yaml").read_text() == shipped


def option(command, name):
    return command[command.index(name) + 1]


def assert_decoded_by(decoder, sidecar):
    described = json.dumps(sidecar)
    if decoder["name"] == "argmax":
        assert "ArgmaxDecoder" in described
    else:
        assert f"coherence={decoder['coherence']}" in described


@pytest.mark.parametrize("script", ["lits.py"])
def test_too_few_to_tune_on(run_recipe, tmp_path, script):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(24):
        for kind in ("volume", "segmentation"):
            (data / f"{kind}-{number}.nii").touch()
    with pytest.raises(SystemExit, match="25 with labels are needed, got 24"):
        run_recipe(script, data, tmp_path / "work", configs={"--config": "lits"})
