"""`rankseg-med predict --bundle` beside MONAI's own runner of the same bundle."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from rankseg_med.configuration import load_bundle
from rankseg_med.studies import find_studies
from rankseg_med.workflows import PredictJob
from tests import zoo
from tests.conftest import REPOSITORY

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


def test_a_config_over_the_bundle(predicted, tmp_path):
    """Such as what tune wrote."""
    (tmp_path / "tuned.yaml").write_text(
        "decoder: {_target_: rankseg_med.decode.make_decoder, name: iou, coherence: 0.5}"
    )
    predicted(zoo.spleen(tmp_path / "bundle"), "--config", tmp_path / "tuned.yaml")
    decoder = json.loads((tmp_path / "out" / "a.json").read_text())["decoder"]
    assert "metric='iou'" in decoder
    assert "coherence=0.5" in decoder


def test_other_weights_for_its_network(rankseg_med, images, tmp_path):
    """Two checkpoints are an ensemble here as well."""
    bundle = zoo.spleen(tmp_path / "bundle")
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    torch.save({name: value + value // 10 for name, value in weights.items()}, tmp_path / "mine.pt")
    both = ("--checkpoint", tmp_path / "mine.pt", "--checkpoint", bundle / "models" / "model.pt")
    options = ("--bundle", bundle, *both, "--device", "cpu", "-o", tmp_path / "out", "--ensemble", "decode")
    result = rankseg_med("predict", images, *options)
    assert result.code == 0, result.err + result.out


@pytest.mark.slow
def test_its_own_code_in_other_processes(rankseg_med, images, tmp_path):
    bundle = zoo.spleen(tmp_path / "bundle")
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "spleen_nets.py").write_text(
        "from monai.networks.nets import UNet\n\nclass Mine(UNet):\n    pass\n"
    )
    network = json.loads((bundle / "configs" / "inference.json").read_text())["network_def"]
    zoo.edit(bundle, network_def=network | {"_target_": "scripts.spleen_nets.Mine"})
    options = ("--bundle", bundle, "--device", "cpu", "-o", tmp_path / "out", "--workers", 1)
    assert rankseg_med("predict", images, *options).code == 0


@pytest.mark.parametrize(
    "options",
    [(), ("--config", "demo"), ("--checkpoint", "demo"), ("--bundle", "b", "--nnunet", "m")],
)
def test_one_way_to_give_a_network(rankseg_med, images, tmp_path, options):
    result = rankseg_med("predict", images, "-o", tmp_path / "out", *options)
    assert (result.code, "bundle" in result.err) == (2, True)


@pytest.mark.slow
def test_memory_of_105_classes(tmp_path, capsys):
    """Less than MONAI's own runner takes for the same argmax; what libraries take that MONAI imports is in both."""
    bundle = zoo.whole_body(tmp_path / "bundle", roi=32)
    images = zoo.write_images(tmp_path / "images", (192, 56, 56), (1.5, 1.5, 1.5))

    def predict_mb(*options):
        arguments = ["predict", images, "--bundle", bundle, "-o", tmp_path / "".join(options), "--device", "cpu"]
        return peak_mb(f"import sys; sys.argv[1:] = {[str(each) for each in (*arguments, *options)]}; main()")

    theirs = f"zoo.monai_labels(Path({str(bundle)!r}), Path({str(images)!r}), Path({str(tmp_path / 'theirs')!r}))"
    idle = peak_mb("")
    argmax_mb, dice_mb = predict_mb("--decoder", "argmax") - idle, predict_mb("--decoder", "dice") - idle
    theirs_mb = peak_mb(theirs) - idle
    with capsys.disabled():
        sys.stdout.write(
            f"\n105 classes, 192 x 56 x 56 voxels, MB: argmax {argmax_mb:.0f} here, {theirs_mb:.0f} by MONAI; "
        )
        sys.stdout.write(f"for Dice {dice_mb:.0f}\n")
    assert argmax_mb < theirs_mb
    # Voxels that the preprocessing does not resample: both argmax are one, on any grid.
    ours, monais = tmp_path / "--decoderargmax" / "a.nii.gz", tmp_path / "theirs" / "a" / "a_trans.nii.gz"
    assert (zoo.labels_in(ours) != zoo.labels_in(monais)).mean() < 1e-4
    config, weights = load_bundle(bundle, device="cpu")
    (study,) = find_studies(images)
    assert dice_mb < PredictJob(config, [weights], tmp_path / "none").memory_needed(study) / 2**20


def peak_mb(statement: str) -> float:
    """Most memory that a process of its own held."""
    program = (
        "import atexit, resource\n"
        "from pathlib import Path\n"
        "import rankseg_med.workflows, rankseg_med.cli.app\n"
        "from rankseg_med.cli.main import main\n"
        "from tests import zoo\n"
        "atexit.register(lambda: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program + statement]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return int(printed.stdout.split("peak")[-1]) / 1024
