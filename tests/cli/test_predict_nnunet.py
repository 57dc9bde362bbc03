"""`rankseg-med predict --nnunet`, beside nnU-Net's own predictor."""

import json

import numpy as np
import pytest

from rankseg_med.studies import read_label_names
from tests.nnunet.given import dataset_of, plans_of, write_image, write_model
from tests.nnunet.reference import nnunet_says
from tests.voxels import voxels_of

pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (extra nnunet)")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagesTs")
    for seed, case in enumerate(("a", "b")):
        write_image(folder / f"{case}_0000.nii.gz", shape=(20, 18, 12), seed=seed)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"), plans_of(), dataset_of(), folds=(0, 1))


def test_argmax_of_the_exact_export_is_nnunets_label_map(rankseg_med, images, model, tmp_path):
    arguments = ("predict", images, "--nnunet", model, "--folds", "0,1", "-o", tmp_path / "out")
    exact = (*arguments, "--decoder", "argmax", "--nnunet-export", "exact")
    result = rankseg_med(*exact)
    assert result.code == 0, result.err
    for case in ("a", "b"):
        said = nnunet_says(model, [images / f"{case}_0000.nii.gz"], tmp_path / f"said_{case}", folds=(0, 1))
        np.testing.assert_array_equal(voxels_of(tmp_path / "out" / f"{case}.nii.gz"), said.labels)
    sidecar = json.loads((tmp_path / "out" / "a.json").read_text())
    assert (sidecar["label_names"], sidecar["decoder"]) == ({"1": "organ", "2": "tumour"}, "ArgmaxDecoder()")
    assert read_label_names(tmp_path / "out") == {1: "organ", 2: "tumour"}
    assert "2 of them before" in rankseg_med(*exact).out
    # The default export is another setting.
    stale = rankseg_med(*arguments, "--decoder", "argmax")
    assert (stale.code, "export" in stale.out + stale.err) == (1, True)


def test_bids(rankseg_med, images, model, tmp_path):
    """Case ids are without the channel's number; probabilities are not kept on the way through its networks."""
    command = ("predict", images, "--nnunet", model, "--no-mirroring", "--layout", "bids", "-o", tmp_path / "out")
    assert rankseg_med(*command).code == 0
    assert {path.name for path in (tmp_path / "out").glob("sub-*/anat/*.nii.gz")} == {
        *("sub-a_dseg.nii.gz", "sub-b_dseg.nii.gz")
    }
    assert read_label_names(tmp_path / "out") == {1: "organ", 2: "tumour"}
    sidecar = json.loads((tmp_path / "out" / "sub-a" / "anat" / "sub-a_dseg.json").read_text())
    assert sidecar["Sources"] == [f"bids:{images.name}:a_0000.nii.gz"]
    refused = rankseg_med(*command, "--probabilities")
    assert (refused.code, "--save_probabilities) and decode them" in refused.err) == (1, True)


@pytest.mark.slow
def test_processes_of_their_own_and_the_default_decoder(rankseg_med, images, model, tmp_path):
    """Each builds the networks from what travels to it."""
    alone, workers = (
        rankseg_med("predict", images, "--nnunet", model, "--no-mirroring", "-o", tmp_path / name, *more)
        for name, more in (("alone", ()), ("workers", ("--executor", "processes", "--workers", "1")))
    )
    assert (alone.code, workers.code) == (0, 0), workers.err
    for case in ("a", "b"):
        np.testing.assert_array_equal(*(voxels_of(tmp_path / name / f"{case}.nii.gz") for name in ("alone", "workers")))
    decisions = json.loads((tmp_path / "alone" / "a.json").read_text())["decisions"]
    assert [decision["labels"] for decision in decisions] == [[1], [2]]


def test_several_models_by_names(rankseg_med, images, model, tmp_path):
    """The second model's structures lie over the first one's, as TotalSegmentator has it."""
    other = write_model(tmp_path / "other", plans_of(), dataset_of({"background": 0, "vessel": 1}), seed=5)
    (tmp_path / "labels.yaml").write_text("{vessel: 1, tumour: 7, organ: 3}")
    common = ("--decoder", "argmax", "--nnunet-export", "exact", "--folds", "0")
    merge = ("--nnunet", model, "--nnunet", other, "--merge", tmp_path / "labels.yaml")
    result = rankseg_med("predict", images, *merge, *common, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    for case in ("a", "b"):
        first, second = (
            nnunet_says(folder, [images / f"{case}_0000.nii.gz"], tmp_path / f"{folder.name}_{case}").labels
            for folder in (model, other)
        )
        expected = np.where(second == 1, 1, np.array([0, 3, 7])[first])
        np.testing.assert_array_equal(voxels_of(tmp_path / "out" / f"{case}.nii.gz"), expected)
    assert read_label_names(tmp_path / "out") == {1: "vessel", 3: "organ", 7: "tumour"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--grid", "model"), "--grid means nothing with --nnunet"),
        (("--folds", "0,x"), "--folds are numbers, such as 0,1, or all; got '0,x'"),
        (("--folds", "7"), "folds must be different ones that have a checkpoint_final.pth"),
        (("--configuration", "2d"), "must be of configuration 2d"),
        (("--step-size", "0"), "step_size must be above 0"),
    ],
)
def test_what_cannot_be_is_said(rankseg_med, images, model, tmp_path, options, said):
    result = rankseg_med("predict", images, "--nnunet", model, "-o", tmp_path / "out", *options)
    assert result.code != 0
    assert said in " ".join((result.out + result.err).replace("│", " ").split())
    assert not list(tmp_path.glob("out/*.nii.gz"))


def test_options_of_nnunet_are_for_nnunet(rankseg_med, images, tmp_path):
    demo = ("predict", images, "--config", "demo", "--checkpoint", "demo", "-o", tmp_path / "out")
    for options, said in (
        (("--folds", "0"), "--folds is an option of --nnunet"),
        (("--ensemble", "logits"), "--ensemble logits is for --nnunet"),
    ):
        result = rankseg_med(*demo, *options)
        assert (result.code, said in " ".join(result.err.replace("│", " ").split())) == (2, True)
    nothing = rankseg_med("predict", images, "-o", tmp_path / "out")
    said = " ".join(nothing.err.replace("│", " ").split())
    assert (nothing.code, "give networks in one way" in said) == (2, True)


def test_a_labels_file_that_does_not_fit(rankseg_med, images, model, tmp_path):
    for content, said in (
        ("{organ: 1}", "got none for tumour"),
        ("{organ: 1, tumour: 2, spleen: 3}", "got spleen, which none knows"),
        ("{organ: 1, tumour: 1}", "labels must be different ones from 1 to 255"),
        ("{organ: one, tumour: 2}", "must hold names and whole numbers"),
    ):
        (tmp_path / "labels.yaml").write_text(content)
        result = rankseg_med(
            "predict", images, "--nnunet", model, "--merge", tmp_path / "labels.yaml", "-o", tmp_path / "out"
        )
        assert result.code != 0
        assert said in " ".join((result.out + result.err).replace("│", " ").split())
