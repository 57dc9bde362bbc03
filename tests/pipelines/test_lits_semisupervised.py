"""The LiTS recipe on phantoms that lie as LiTS does."""

import pytest
import torch

from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.studies import Manifest
from tests.pipelines.conftest import semisupervised


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
        return run_recipe("lits_semisupervised.py", data, work, "--labelled", 3, configs=semisupervised("lits"))

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
