"""`rankseg-med report` and `--report`, on what the shipped network predicts."""

import pytest
import yaml

from rankseg_med.demo import make_phantom, write_phantom
from tests.evaluation.rim_cases import write_case
from tests.evaluation.run_report.report_folders import studies_in

DEMO = ("--config", "demo", "--checkpoint", "demo", "--device", "cpu")
NASTY = "L'ä<script>x 肿瘤 &"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    for seed, name in enumerate(("a", NASTY), start=5):
        phantom = make_phantom(seed, shape=(48, 48, 24))
        write_phantom(phantom, folder / "images" / f"{name}.nii.gz", folder / "labels" / f"{name}.nii.gz")
    (folder / "images" / "broken.nii.gz").write_bytes(b"no image")
    return folder


@pytest.mark.slow
def test_from_images_to_reports(rankseg_med, phantoms, tmp_path):
    labels, scores = tmp_path / "labels", tmp_path / "scores"
    # Also when a study failed, and the exit code is still that of the run.
    predicted = rankseg_med("predict", phantoms / "images", *DEMO, "-o", labels, "--report")
    assert (predicted.code, f"report: {labels / 'report.html'}" in predicted.out) == (1, True), predicted.err
    studies = studies_in(labels / "report.html")
    assert {case_id: study["status"] for case_id, study in studies.items()} == {
        **{"a": "done", NASTY: "done", "broken": "failed"}
    }
    assert studies["broken"]["reason"]
    assert studies[NASTY]["slices"][0]["caption"].startswith("Largest cross-section of tumour")
    assert "organ: expected Dice" in studies[NASTY]["values"]
    scored = rankseg_med("evaluate", labels, phantoms / "labels", "-o", scores, "--report")
    assert (scored.code, f"report: {scores / 'report.html'}" in scored.out) == (0, True), scored.err
    assert 0 < studies_in(scores / "report.html")[NASTY]["score"] <= 1
    assert not studies_in(scores / "report.html")[NASTY]["notes"]
    both = rankseg_med("report", labels, "--scores", scores, "--figures", tmp_path / "figures", "--no-volumes")
    assert (both.code, f"3 studies in {labels / 'report.html'}" in both.out) == (0, True), both.err
    assert f"figure: {tmp_path / 'figures' / 'box-dice.png'}" in both.out
    assert studies_in(labels / "report.html")["a"]["score"] == studies_in(scores / "report.html")["a"]["score"]
    assert rankseg_med("status", labels).code == 1
    # Nothing of it stands in the way of going on.
    again = rankseg_med("predict", phantoms / "images", *DEMO, "-o", labels)
    assert "2 of them before" in again.out


def test_pseudo_labels(rankseg_med, phantoms, tmp_path):
    config = tmp_path / "config.yaml"
    labeller = {"_target_": "rankseg_med.semisupervised.PseudoLabeller", "min_confidence": 0.6}
    config.write_text(yaml.safe_dump({"extends": "demo", "pseudo_labeller": labeller}))
    options = ("--config", config, "--checkpoint", "demo", "--device", "cpu", "-o", tmp_path / "out", "--report")
    result = rankseg_med("pseudo-label", phantoms / "images" / "a.nii.gz", *options)
    assert result.code == 0, result.err
    study = studies_in(tmp_path / "out" / "report.html")["a"]
    assert study["slices"][0]["caption"].startswith("Largest cross-section of tumour")
    assert study["values"]["tumour: volume (ml)"][0] > 0


def test_decode_and_ab(rankseg_med, tmp_path):
    for index in range(2):
        write_case(tmp_path, f"case_{index}", 3 + index, rim=True)
    decoded = rankseg_med("decode", tmp_path / "probabilities", "-o", tmp_path / "out", "--report")
    assert decoded.code == 0, decoded.err
    study = studies_in(tmp_path / "out" / "report.html")["case_0"]
    assert any("no image: name the images to see them. case_0.nii.gz beside" in note for note in study["notes"])
    assert study["slices"]
    compared = rankseg_med(
        *("ab", tmp_path / "probabilities", tmp_path / "references", "-o", tmp_path / "ab", "--report")
    )
    assert compared.code == 0, compared.err
    assert set(studies_in(tmp_path / "ab" / "report.html")) == {"case_0", "case_1"}


def test_wrong_options(rankseg_med, tmp_path):
    refused = rankseg_med("report", tmp_path, "-o", tmp_path / "page.txt")
    assert (refused.code, "page.txt" in refused.err) == (2, True)
    nothing = rankseg_med("report", tmp_path)
    assert (nothing.code, "holds no record" in nothing.err) == (1, True)
    needless = rankseg_med("evaluate", tmp_path, tmp_path, "--labels", "1=a", "--report")
    assert (needless.code, "--report needs" in needless.err) == (2, True)
    assert not list(tmp_path.iterdir())
