"""`rankseg-med predict --bundle` beside MONAI's own runner of the same bundle."""

import json

import numpy as np
import pytest

from tests import zoo

SHAPE, SPACING_MM = (20, 18, 10), (2.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return zoo.write_images(tmp_path_factory.mktemp("bundles") / "images", SHAPE, SPACING_MM)


@pytest.fixture
def predicted(rankseg_med, images, tmp_path):
    """Label maps that a bundle's folder gives, by the image's name."""

    def predict(bundle, *options):
        output = tmp_path / "out"
        result = rankseg_med("predict", images, "--bundle", bundle, "-o", output, "--device", "cpu", *options)
        assert result.code == 0, result.err
        return {path.name.removesuffix(".nii.gz"): zoo.labels_in(path) for path in output.glob("*.nii.gz")}

    return predict


@pytest.mark.parametrize("make", [zoo.spleen, zoo.pancreas])
def test_argmax_is_that_of_monais_own_runner(predicted, images, tmp_path, make):
    bundle = make(tmp_path / "bundle")
    theirs = zoo.monai_labels(bundle, images, tmp_path / "theirs")
    ours = predicted(bundle, "--decoder", "argmax")
    assert ours.keys() == theirs.keys() == {"a"}
    for name, labels in ours.items():
        assert 0.02 < (labels > 0).mean() < 0.98
        assert (labels != theirs[name]).mean() < 1e-4


def test_argmax_before_the_inverse(predicted, images, tmp_path):
    """On the preprocessed grid labels are carried as MONAI carries them; on the image's own, probabilities are."""
    bundle = zoo.whole_body(tmp_path / "bundle")
    theirs = zoo.monai_labels(bundle, images, tmp_path / "theirs")
    ours = predicted(bundle, "--decoder", "argmax", "--grid", "model")
    for name, labels in ours.items():
        assert len(np.unique(labels)) > 3
        assert (labels != theirs[name]).mean() < 1e-3


def test_decoding_takes_the_place_of_argmax(predicted, tmp_path):
    bundle = zoo.spleen(tmp_path / "bundle")
    predicted(bundle)
    sidecar = json.loads((tmp_path / "out" / "a.json").read_text())
    assert "RankSEGDecoder" in json.dumps(sidecar)
    assert '"spleen"' in json.dumps(sidecar)
