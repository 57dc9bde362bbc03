"""The guides run as they stand there, on small data."""

import json
from pathlib import Path

import pytest
import torch

from rankseg_med.calibration import load_calibration
from rankseg_med.configuration import load_config
from rankseg_med.demo import make_phantom, write_phantom
from rankseg_med.studies import Manifest
from tests.docs import given
from tests.docs.blocks import blocks_of

HERE = Path()
MODEL = "nnUNet_results/Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres"


def names_of(folder: str) -> set[str]:
    """Label maps in a folder."""
    return {path.name.removesuffix(".nii.gz") for path in Path(folder).glob("*.nii.gz")}


@pytest.mark.session("architectures.md")
def test_architectures(run):
    given.write_blobs(HERE / "images", HERE / "labels", "a", "b")
    given.write_list(HERE / "list.json", "ab", "anterior", "posterior", folds=2)
    run()
    assert names_of("predictions") == {"a", "b"}
    images, labels = torch.randn(1, 1, 40, 8, 8), torch.randint(0, 3, (1, 1, 40, 8, 8))
    for name in ("slices", "resnet"):
        network = load_config("train", Path(f"{name}.yaml"), device="cpu").get_parsed_content("network")
        assert network(images).shape == (1, 3, 40, 8, 8)
    config = load_config("train", Path("gated_scnn.yaml"), device="cpu")
    loss, network = (config.get_parsed_content(name) for name in ("loss", "network"))
    assert loss(network.train()(images), labels) > 0


@pytest.mark.session("calibration.md")
def test_calibration(run):
    given.write_blobs(HERE / "images", HERE / "labels", "a")
    given.write_probabilities(HERE / "probabilities", HERE / "unknown", "b")
    given.write_untrained(HERE / "last.pt", "bcp_hippocampus")
    run()
    (shown,) = [block for block in blocks_of("calibration.md") if block.language == "json"]
    Path("shown.json").write_text(shown.text)
    assert load_calibration(Path("shown.json")).num_classes == 3


@pytest.mark.session("decoding.md")
def test_decoding(run):
    found = run()
    assert found["label_map"].shape == found["decoded"].label_map.shape == (48, 48, 32)


@pytest.mark.session("dicom.md", "A session")
def test_dicom(run):
    run()


@pytest.mark.session("bids.md")
def test_bids(run):
    folder = Path("raw/sub-01/ses-2/anat")
    given.write_studies(folder, HERE / "unknown", "sub-01_ses-2_T1w")
    run()
    assert Path("raw/derivatives/rankseg", *folder.parts[1:], "sub-01_ses-2_dseg.nii.gz").is_file()


@pytest.mark.slow
@pytest.mark.session("evaluation.md")
def test_evaluation(run):
    names = [f"{patient}_scan{number}" for patient in "abc" for number in range(2)]
    given.write_blobs(HERE / "images", HERE / "labels", *names)
    given.write_studies(HERE / "new_images", HERE / "unknown", "a")
    for folder in ("by_argmax", "by_rankseg", "validation"):
        given.write_predictions(HERE / folder, HERE / "labels")
    given.write_list(HERE / "list.json", names, "kidney", "tumour")
    given.write_results(HERE / MODEL, HERE / "labelsTr")
    given.write_probabilities(HERE / "nnunet_output", HERE / "unknown", "new")
    given.write_dataset(HERE / "nnunet_output")
    Path("tuned.yaml").write_text("decoder: {_target_: rankseg_med.decode.make_decoder, name: dice, coherence: 0}\n")
    run()
    assert json.loads(Path("verdict/ab.json").read_text())["verdict"]["sentence"]
    assert "lits" in json.loads(Path("as_lits/summary.json").read_text())
    assert names_of("predictions") == {"a"}
    assert names_of("label_maps") == {"new"}


@pytest.mark.session("inference.md")
def test_inference(run):
    write_phantom(make_phantom(0, shape=(32, 32, 24), spacing_mm=(4.0, 4.0, 6.0)), "ct.nii.gz", "label.nii.gz")
    assert run()["decoded"].label_map.shape == (32, 32, 24)


@pytest.mark.slow
@pytest.mark.session("pretraining.md")
def test_pretraining(run):
    given.write_blobs(HERE / "images", HERE / "labels", *"abcdefghij")
    given.write_blobs(HERE / "patches", HERE / "unknown", *"abcd")
    given.write_list(HERE / "list.json", "abcdefghij", "anterior", "posterior", folds=5)
    classes = ["case_id,class", "a,anterior", "b,posterior", "c,anterior", "d,background"]
    Path("classes.csv").write_text("\n".join(classes))
    run()
    assert names_of("explained") >= set("abcd")
    assert json.loads(Path("run/training.json").read_text())["weights"]["file"].endswith("pretrained/last.pt")


@pytest.mark.session("report.md")
def test_report(run):
    given.write_studies(HERE / "imagesTs", HERE / "labelsTs", *"ab")
    run()
    for page in ("labels/report.html", "scores/report.html"):
        assert Path(page).stat().st_size > 100_000
    assert list(Path("figures").glob("*.pdf"))


@pytest.mark.slow
@pytest.mark.session("runs.md")
def test_runs(run):
    given.write_probabilities(HERE / "probabilities", HERE / "unknown", "a", "b")
    given.write_dataset(HERE / "probabilities")
    run()
    assert names_of("label_maps") == {"a", "b"}


@pytest.mark.slow
@pytest.mark.session("semisupervised.md")
def test_semisupervised(run):
    # Of a fold of five there is something to tune on.
    given.write_blobs(HERE / "images", HERE / "labels", *"abcdefghijklmno")
    given.write_list(HERE / "list.json", "abcdefghijklmno", "anterior", "posterior", folds=3)
    run()
    record = json.loads(Path("taught_run/training.json").read_text())
    assert len(record["training"]) == 10
    assert len(record["validation"]) == 5


@pytest.mark.slow
@pytest.mark.session("training.md")
def test_training(run):
    given.write_blobs(HERE / "images", HERE / "labels", "a", "b")
    given.write_list(HERE / "list.json", "ab", "anterior", "posterior", folds=2)
    run()
    assert names_of("predictions") == {"a", "b"}


@pytest.mark.session("stored_probabilities.md")
def test_stored_probabilities(run):
    given.write_probabilities(HERE / "predictions", HERE / "labelsTs", "a", "b")
    given.write_dataset(HERE / "predictions")
    run()
    assert names_of("label_maps") == names_of("label_maps_argmax") == {"a", "b"}


@pytest.mark.session("studies.md")
def test_studies(run):
    given.write_blobs(HERE / "images", HERE / "labels", *"abcde")
    given.write_blobs(HERE / "cases", HERE / "unknown", "c")
    Path("list.csv").write_text("case_id,image\na,images/a.nii.gz\n")
    run()
    assert names_of("out") == {"a"}
    (shown,) = [block for block in blocks_of("studies.md") if block.language == "json"]
    Path("shown.json").write_text(shown.text)
    assert [entry.id for entry in Manifest.read(Path("shown.json")).training] == ["a"]


@pytest.mark.slow
@pytest.mark.session("tuning.md")
def test_tuning(run):
    names = [f"{number}_scan" for number in range(5)]
    given.write_probabilities(HERE / "probabilities", HERE / "references", *names)
    given.write_results(HERE / MODEL, HERE / "labelsTr")
    given.write_probabilities(HERE / "new_probabilities", HERE / "unknown", "new")
    given.write_studies(HERE / "images", HERE / "labels", *"abcde")
    given.write_studies(HERE / "new_images", HERE / "unknown", "new")
    run()
    assert names_of("label_maps") == names_of("predictions") == {"new"}
    assert {path.name for path in HERE.glob("tuned*.yaml")} == {"tuned.yaml", "tuned_network.yaml", "tuned_here.yaml"}
