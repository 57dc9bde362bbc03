"""`rankseg-med decode` on made nnU-Net output."""

import json

import numpy as np
import pytest
import torch

from rankseg_med.decode import RankSEGDecoder
from tests.nnunet_output import GRIDS, write_output, write_phantoms
from tests.voxels import voxels_of


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder)
    return folder


@pytest.fixture
def softmax(phantoms, tmp_path):
    return tmp_path / "softmax", write_output(tmp_path / "softmax", phantoms)


def test_folder_of_nnunet(rankseg_med, softmax, tmp_path):
    folder, probabilities = softmax
    result = rankseg_med("decode", folder, "--output", tmp_path / "out")
    assert (result.code, "4 of 4 studies done" in result.out) == (0, True), result.err
    for case in GRIDS:
        by_hand = RankSEGDecoder("dice")(torch.from_numpy(probabilities[case])).numpy().transpose(2, 1, 0)
        np.testing.assert_array_equal(voxels_of(tmp_path / "out" / f"{case}.nii.gz"), by_hand)
        sidecar = json.loads((tmp_path / "out" / f"{case}.json").read_text())
        assert (sidecar["job"], sidecar["status"], len(sidecar["decisions"])) == ("decode", "done", 2)
    again = rankseg_med("decode", folder, "--output", tmp_path / "out")
    assert (again.code, "4 of them before" in again.out) == (0, True)
    other = rankseg_med("decode", folder, "--output", tmp_path / "out", "--decoder", "iou")
    assert (other.code, "4 stale" in other.out) == (1, True)


def test_argmax_is_nnunets_own_label_map(rankseg_med, softmax, tmp_path):
    folder, _ = softmax
    assert rankseg_med("decode", folder, "--output", tmp_path / "out", "--decoder", "argmax").code == 0
    for case in GRIDS:
        path = f"{case}.nii.gz"
        np.testing.assert_array_equal(voxels_of(tmp_path / "out" / path), voxels_of(folder / path))


def test_what_is_believed_of_the_truth_is_an_option(rankseg_med, softmax, tmp_path):
    folder, probabilities = softmax
    options = ("--coherence", "0", "--presence", "always")
    assert rankseg_med("decode", folder, "--output", tmp_path / "out", *options).code == 0
    decoder = RankSEGDecoder(coherence=0, presence="always")
    for case in GRIDS:
        by_hand = decoder(torch.from_numpy(probabilities[case])).numpy().transpose(2, 1, 0)
        np.testing.assert_array_equal(voxels_of(tmp_path / "out" / f"{case}.nii.gz"), by_hand)
    refused = rankseg_med("decode", folder, "--output", tmp_path / "other", "--decoder", "argmax", *options)
    assert refused.code == 2
    assert "has no coherence or presence" in refused.err


def test_regions_of_nnunet_and_as_an_option(rankseg_med, phantoms, tmp_path):
    folder = tmp_path / "sigmoid"
    write_output(folder, phantoms, regions=True)
    for decoder in ("argmax", "dice"):
        assert rankseg_med("decode", folder, "--output", tmp_path / decoder, "--decoder", decoder).code == 0
    for case in GRIDS:
        path = f"{case}.nii.gz"
        np.testing.assert_array_equal(voxels_of(tmp_path / "argmax" / path), voxels_of(folder / path))
    (folder / "dataset.json").unlink()
    options = ("--region-channels", "organ=1+2,tumour=2", "--output", tmp_path / "said")
    assert rankseg_med("decode", folder, *options).code == 0
    for case in GRIDS:
        path = f"{case}.nii.gz"
        np.testing.assert_array_equal(voxels_of(tmp_path / "said" / path), voxels_of(tmp_path / "dice" / path))
    without = rankseg_med("decode", folder, "--output", tmp_path / "without")
    assert (without.code, "must sum to one over its classes" in without.out) == (1, True)


def test_shards_make_the_whole(rankseg_med, softmax, tmp_path):
    for shard in ("1/3", "2/3", "3/3"):
        assert rankseg_med("decode", softmax[0], "--output", tmp_path / "out", "--shard", shard).code == 0
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {f"{case}.nii.gz" for case in GRIDS}


def test_one_bad_study_among_good_ones(rankseg_med, softmax, tmp_path):
    folder, _ = softmax
    (folder / "oblique.npz").write_bytes((folder / "oblique.npz").read_bytes()[:1000])
    result = rankseg_med("decode", folder, "--output", tmp_path / "out")
    assert result.code == 1
    assert "3 of 4 studies done" in result.out
    assert "failed: oblique: " in result.out
    assert not (tmp_path / "out" / "oblique.nii.gz").exists()


def test_images_elsewhere_and_a_config(rankseg_med, softmax, phantoms, tmp_path):
    folder, probabilities = softmax
    for path in folder.glob("*.nii.gz"):
        path.unlink()
    missing = rankseg_med("decode", folder, "--output", tmp_path / "out")
    assert (missing.code, "give the images" in missing.err) == (1, True)
    options = ("--images", phantoms / "images", "--config", "demo", "--output", tmp_path / "out")
    assert rankseg_med("decode", folder, *options).code == 0
    lines = [f"{case},images/{case}.nii.gz" for case in GRIDS]
    (phantoms / "list.csv").write_text("\n".join(["case_id,image", *lines]))
    listed = rankseg_med("decode", folder, "--images", phantoms / "list.csv", "--output", tmp_path / "listed")
    assert (listed.code, "4 of 4 studies done" in listed.out) == (0, True), listed.err
    # The demo's cleanup: organ and tumour are one body, so the island goes.
    assert probabilities["canonical"][1, 1, 1, 1] > 0.8
    assert voxels_of(tmp_path / "out" / "canonical.nii.gz")[1, 1, 1] == 0


def test_a_data_list_holds_no_probabilities(rankseg_med, tmp_path):
    (tmp_path / "list.csv").write_text("case_id,image\na,a.nii.gz\n")
    result = rankseg_med("decode", tmp_path / "list.csv", "--output", tmp_path / "out")
    assert (result.code, "must be an existing .npz, .npy or 4-D NIfTI file" in result.err) == (1, True)


def test_predictions_are_not_replaced(rankseg_med, softmax):
    folder, _ = softmax
    before = voxels_of(folder / "canonical.nii.gz")
    result = rankseg_med("decode", folder, "--output", folder, "--overwrite")
    assert (result.code, "an output would replace an input" in result.err) == (1, True)
    np.testing.assert_array_equal(voxels_of(folder / "canonical.nii.gz"), before)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--region-channels", "whole=1+2+3,enhancing=3"), 1, "must have exactly one label"),
        (("--region-channels", "whole"), 2, "regions are given as"),
        (("--axes", "ZYXC"), 2, "ZYXC"),
        (("--axes", "CXYZ"), 1, "as CZYX it would fit"),
        (("--config", "dmeo"), 1, "no such config file, nor a shipped config"),
    ],
)
def test_wrong_options(rankseg_med, softmax, tmp_path, options, code, message):
    result = rankseg_med("decode", softmax[0], "--output", tmp_path / "out", *options)
    assert result.code == code
    assert message in result.out + result.err
