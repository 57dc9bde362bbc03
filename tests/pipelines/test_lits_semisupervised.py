"""The LiTS recipe on phantoms that lie as LiTS does."""

import runpy

import pytest
import torch

from rankseg_med.studies import Manifest
from rankseg_med.studies.phantom import make_phantom, write_phantom
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten cases in two batches, and a test volume without labels."""
    folder = tmp_path_factory.mktemp("lits")
    for number in range(10):
        batch = folder / f"Training Batch {1 + number // 5}"
        phantom = make_phantom(number, shape=(32, 32, 24), spacing_mm=(9.0, 9.0, 9.0), axis_codes="LPS")
        write_phantom(phantom, batch / f"volume-{number}.nii", batch / f"segmentation-{number}.nii")
    (folder / "test").mkdir()
    (folder / "test" / "test-volume-0.nii").touch()
    return folder


@pytest.mark.slow
def test_from_the_download_to_scores_and_on_again(run_recipe, data, tmp_path):
    work = tmp_path / "work"

    def run():
        return run_recipe("lits_semisupervised.py", data, work, "--labelled", 3, config="lits")

    commands = run()
    assert [command[0] for command in commands] == ["train", "predict", "evaluate"] * 3
    training, test = (Manifest.read(work / f"{name}.json").training for name in ("training", "test"))
    assert sorted(entry.id for entry in (*training, *test)) == sorted(f"volume-{number}" for number in range(10))
    assert len(test) == 2
    for arm in ("supervised", "published", "rankseg"):
        folder = work / arm / "seed_0"
        content = torch.load(folder / "run" / "last.pt", weights_only=True)
        assert content["trainer"]["iteration"] == 4
        assert ("student" in content) == (arm != "supervised")
        assert {path.name for path in (folder / "predictions").glob("*.nii.gz")} == {f"{e.id}.nii.gz" for e in test}
        scores = (folder / "scores" / "scores.csv").read_text()
        assert all(entry.id in scores for entry in test)
    assert [command[0] for command in run()] == ["predict", "evaluate"] * 3, "what is trained is trained"


def test_folds_are_those_of_the_shipped_list(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "pipelines"))
    script = runpy.run_path(str(REPOSITORY / "pipelines" / "lits_semisupervised.py"))
    for number in range(131):
        for kind in ("volume", "segmentation"):
            (tmp_path / f"{kind}-{number}.nii").touch()
    cases = script["find_cases"](tmp_path)
    write_lists = script["run_recipe"].__globals__["write_lists"]
    lists = write_lists(cases, script["RECIPE"], tmp_path, tmp_path / "work")
    written = [entry for path in lists for entry in Manifest.read(path).training]
    shipped = Manifest.read(REPOSITORY / "data_manifests" / "lits.json")
    assert sorted(written, key=lambda entry: entry.id) == sorted(shipped.training, key=lambda entry: entry.id)
    assert {entry.fold for entry in Manifest.read(lists[1]).training} == {0}


def test_what_is_incomplete_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "pipelines"))
    find_cases = runpy.run_path(str(REPOSITORY / "pipelines" / "lits_semisupervised.py"))["find_cases"]
    (tmp_path / "volume-7.nii").touch()
    with pytest.raises(SystemExit, match=r"has no segmentation-7\.nii beside it"):
        find_cases(tmp_path)
    (tmp_path / "segmentation-7.nii").touch()
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "volume-7.nii").touch()
    (tmp_path / "again" / "segmentation-7.nii").touch()
    with pytest.raises(SystemExit, match="volume 7 lies in"):
        find_cases(tmp_path)
