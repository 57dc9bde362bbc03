"""`rankseg-med predict` with the shipped network: geometry out, and every way in which it must fail clearly."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.networks import SHIPPED_WEIGHTS
from tests.networks.exports import FORMATS, tiny_unet, write
from tests.networks.given_transformers import REASON, segformer
from tests.voxels import voxels_of

DEMO = ("--config", "demo", "--checkpoint", "demo", "--device", "cpu")


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(make_phantom(77, shape=(96, 96, 48)), folder / "image.nii.gz", folder / "label.nii.gz")
    return folder


@pytest.fixture
def small_image(tmp_path):
    """Writes a small image with whatever is wrong with it."""

    def write(values: np.ndarray, name: str = "image.nii.gz"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(values, np.diag([3, 3, 4, 1])), path)
        return path

    return write


def test_demo_network_finds_the_organ(rankseg_med, phantom, tmp_path):
    result = rankseg_med("predict", phantom / "image.nii.gz", *DEMO, "--output", tmp_path / "out")
    assert (result.code, "1 of 1 studies done" in result.out) == (0, True)
    labels = nib.load(tmp_path / "out" / "image.nii.gz")
    reference = nib.load(phantom / "label.nii.gz")
    np.testing.assert_array_equal(labels.affine, reference.affine)
    assert labels.get_data_dtype() == np.uint8
    assert dice(np.asarray(labels.dataobj) > 0, np.asarray(reference.dataobj) > 0) > 0.85


def test_decoders_differ_and_argmax_is_argmax(rankseg_med, phantom, tmp_path):
    volumes = {}
    for decoder in ("dice", "iou", "argmax"):
        out = tmp_path / decoder
        assert rankseg_med("predict", phantom / "image.nii.gz", *DEMO, "--output", out, "--decoder", decoder).code == 0
        volumes[decoder] = voxels_of(out / "image.nii.gz")
    assert (volumes["dice"] != volumes["argmax"]).any()
    assert (volumes["iou"] == volumes["argmax"]).mean() > 0.99


@pytest.mark.parametrize("codes", ["LPS", "ASR", "IRP"])
def test_stored_orientation_does_not_matter(rankseg_med, phantom, tmp_path, codes):
    canonical = nib.load(phantom / "image.nii.gz")
    transform = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(canonical.as_reoriented(transform), tmp_path / "stored.nii.gz")
    for image in (phantom / "image.nii.gz", tmp_path / "stored.nii.gz"):
        assert rankseg_med("predict", image, *DEMO, "--output", tmp_path / "out").code == 0
    first = nib.load(tmp_path / "out" / "image.nii.gz")
    second = nib.as_closest_canonical(nib.load(tmp_path / "out" / "stored.nii.gz"))
    np.testing.assert_array_equal(np.asarray(first.dataobj), np.asarray(second.dataobj))


@pytest.mark.real_data
def test_real_ct_comes_back_on_its_own_grid(rankseg_med, shared_data, tmp_path):
    source = shared_data / "ct" / "thorax_lps_1p5mm.nii.gz"
    assert rankseg_med("predict", source, *DEMO, "--output", tmp_path / "out").code == 0
    image, labels = nib.load(source), nib.load(tmp_path / "out" / source.name)
    assert labels.shape == image.shape
    assert nib.aff2axcodes(labels.affine) == ("L", "P", "S")
    for field in ("sform_code", "qform_code", "pixdim", "srow_x", "srow_y", "srow_z", "qoffset_x", "quatern_d"):
        np.testing.assert_array_equal(labels.header[field], image.header[field])


def failing(rankseg_med, source, out, *options) -> str:
    result = rankseg_med("predict", source, *(options or DEMO), "--output", out)
    assert result.code == 1
    assert not list(out.glob("*.nii.gz"))
    return result.out + result.err


def test_missing_input(rankseg_med, tmp_path):
    assert "must be an existing image (.nii.gz" in failing(rankseg_med, tmp_path / "absent.nii.gz", tmp_path / "out")


def test_truncated_gzip(rankseg_med, small_image, tmp_path):
    path = small_image(np.random.default_rng(0).normal(size=(20, 20, 20)))
    path.write_bytes(path.read_bytes()[:5000])
    message = failing(rankseg_med, path, tmp_path / "out")
    assert "image.nii.gz" in message
    assert "truncated" in message or "ended before" in message or "damaged" in message


def test_not_gzip_inside(rankseg_med, tmp_path):
    (tmp_path / "image.nii.gz").write_bytes(gzip.compress(b"this is no image"))
    assert "NIfTI" in failing(rankseg_med, tmp_path / "image.nii.gz", tmp_path / "out")


@pytest.mark.parametrize(
    ("shape", "found"),
    [((30, 30), "(30, 30)"), ((10, 10, 10, 3), "(10, 10, 10, 3)"), ((10, 10, 1, 1, 3), "(10, 10, 1, 1, 3)")],
)
def test_wrong_number_of_axes(rankseg_med, small_image, tmp_path, shape, found):
    assert found in failing(rankseg_med, small_image(np.zeros(shape, np.float32)), tmp_path / "out")


def test_nan_voxels(rankseg_med, small_image, tmp_path):
    values = np.zeros((8, 8, 8), np.float32)
    values[1, 2, 3] = np.nan
    message = failing(rankseg_med, small_image(values), tmp_path / "out")
    assert "must be finite" in message
    assert "(1, 2, 3)" in message


def test_wrong_channel_count(rankseg_med, small_image, tmp_path):
    """A config for two-channel studies on a one-channel image."""
    config = tmp_path / "two.yaml"
    config.write_text(
        "label_names: [background, organ]\nspacing_mm: [3, 3, 4]\nroi_size: [16, 16, 16]\n"
        "intensity: {_target_: NormalizeIntensityd, keys: image}\n"
        "network_def: {_target_: torch.nn.Conv3d, in_channels: 2, out_channels: 2, kernel_size: 1}\n"
    )
    weights = tmp_path / "two.safetensors"
    save_file(torch.nn.Conv3d(2, 2, 1).state_dict(), weights)
    image = small_image(np.zeros((8, 8, 8), np.float32))
    message = failing(rankseg_med, image, tmp_path / "out", "--config", config, "--checkpoint", weights)
    assert "the network takes 2 input channels, the study gives 1" in message


def test_wrong_checkpoint(rankseg_med, small_image, tmp_path):
    image = small_image(np.zeros((8, 8, 8), np.float32))
    options = ("--config", "hippocampus", "--checkpoint", SHIPPED_WEIGHTS / "demo.safetensors")
    assert "does not fit the network of the config" in failing(rankseg_med, image, tmp_path / "out", *options)
    assert "no such checkpoint file" in failing(
        rankseg_med, image, tmp_path / "out", "--config", "demo", "--checkpoint", tmp_path / "absent.pt"
    )


def test_wrong_config(rankseg_med, small_image, tmp_path):
    image = small_image(np.zeros((8, 8, 8), np.float32))
    message = failing(rankseg_med, image, tmp_path / "out", "--config", "dmeo", "--checkpoint", "demo")
    assert "no such config file, nor a shipped config (" in message


def test_unwritable_output(rankseg_med, small_image, tmp_path):
    """A file stands where the folder should be; permissions would not stop root."""
    image = small_image(np.zeros((8, 8, 8), np.float32))
    (tmp_path / "out").write_text("in the way")
    result = rankseg_med("predict", image, *DEMO, "--output", tmp_path / "out")
    assert result.code == 1
    assert "out" in result.err
    assert (tmp_path / "out").read_text() == "in the way"


def test_one_bad_study_among_good_ones(rankseg_med, small_image, phantom, tmp_path):
    small_image(np.full((8, 8, 8), np.nan, np.float32), "bad.nii.gz")
    good = tmp_path / "in" / "good.nii.gz"
    good.write_bytes((phantom / "image.nii.gz").read_bytes())
    result = rankseg_med("predict", tmp_path / "in", *DEMO, "--output", tmp_path / "out")
    assert result.code == 1
    assert "1 of 2 studies done" in result.out
    assert "failed: bad: " in result.out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["bad.json", "dseg.tsv", "good.json", "good.nii.gz", "plan.json", "run.json"]
    again = rankseg_med("predict", good, *DEMO, "--output", tmp_path / "out")
    assert (again.code, "1 of 1 studies done" in again.out, "(1 of them before)" in again.out) == (0, True, True)


def test_other_settings_are_reported_and_done_when_asked(rankseg_med, phantom, tmp_path):
    options = (phantom / "image.nii.gz", *DEMO, "--output", tmp_path / "out")
    assert rankseg_med("predict", *options).code == 0
    before = (tmp_path / "out" / "image.nii.gz").read_bytes()
    stale = rankseg_med("predict", *options, "--decoder", "argmax")
    assert (stale.code, "stale: image: written" in stale.out, "--overwrite" in stale.out) == (1, True, True)
    assert (tmp_path / "out" / "image.nii.gz").read_bytes() == before
    assert rankseg_med("predict", *options, "--decoder", "argmax", "--overwrite").code == 0
    assert "argmax" in (tmp_path / "out" / "image.json").read_text().lower()


def test_shards_share_the_work(rankseg_med, phantom, tmp_path):
    images = tmp_path / "in"
    images.mkdir()
    for name in "abc":
        (images / f"{name}.nii.gz").symlink_to(phantom / "image.nii.gz")
    for shard, expected in (("1/2", ["a", "c"]), ("2/2", ["a", "b", "c"])):
        result = rankseg_med("predict", images, *DEMO, "--output", tmp_path / "out", "--shard", shard)
        assert result.code == 0
        assert sorted(path.name[0] for path in (tmp_path / "out").glob("*.nii.gz")) == expected
    status = rankseg_med("status", tmp_path / "out")
    assert status.code == 0
    assert "run-1-of-2.json: predict of 2 studies, finished" in status.out
    nothing = rankseg_med("predict", phantom / "image.nii.gz", *DEMO, "--output", tmp_path / "x", "--shard", "2/2")
    assert "is empty" in nothing.out
    assert rankseg_med("predict", images, *DEMO, "--output", tmp_path / "x", "--shard", "3/2").code == 2


@pytest.mark.parametrize(
    "options", [("--gpus-per-worker", 1), ("--ray-address", "auto"), ("--executor", "ray", "--memory-gb", 4)]
)
def test_options_that_would_do_nothing_are_refused(rankseg_med, phantom, tmp_path, options):
    result = rankseg_med("predict", phantom / "image.nii.gz", *DEMO, "--output", tmp_path / "out", *options)
    assert result.code == 2
    assert "means nothing with the executor" in result.err


def test_status_of_a_failed_run(rankseg_med, small_image, tmp_path):
    small_image(np.full((8, 8, 8), np.nan, np.float32), "bad.nii.gz")
    assert rankseg_med("predict", tmp_path / "in", *DEMO, "--output", tmp_path / "out").code == 1
    status = rankseg_med("status", tmp_path / "out")
    assert status.code == 1
    assert "failed: bad: " in status.out
    assert "must be finite" in status.out


def test_usage_errors_exit_with_2(rankseg_med, tmp_path):
    result = rankseg_med("predict", tmp_path, *DEMO, "--output", tmp_path, "--decoder", "otsu")
    assert result.code == 2
    assert "otsu" in result.err


def test_nothing_is_sent_over_a_network(rankseg_med, phantom, tmp_path, monkeypatch):
    def refuse(*address):
        pytest.fail(f"connected to {address}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert rankseg_med("predict", phantom / "image.nii.gz", *DEMO, "--output", tmp_path / "out").code == 0


def test_expressions_in_data_lists_are_no_code(rankseg_med, phantom, tmp_path):
    marker = tmp_path / "was_run"
    entry = {"id": "a", "image": f"$__import__('pathlib').Path('{marker}').touch()"}
    good = {"id": "$1 + 1", "image": "image.nii.gz"}
    path = tmp_path / "list.json"
    path.write_text(
        json.dumps({"name": "$open('x')", "labels": {"0": "background"}, "training": [], "test": [entry, good]})
    )
    result = rankseg_med("predict", path, "--data-root", phantom, *DEMO, "--output", tmp_path / "out")
    assert result.code == 1
    assert not marker.exists()
    assert (tmp_path / "out" / "$1 + 1.nii.gz").is_file()


WINDOWS = (
    "label_names: [background, organ, tumour]\nspacing_mm: [6, 6, 8]\nroi_size: [16, 16, 16]\n"
    "intensity: {_target_: NormalizeIntensityd, keys: image}\ndecoder::name: argmax\n"
)


@pytest.fixture(scope="module")
def eager(tmp_path_factory):
    """A config and weights of a tiny network."""
    folder = tmp_path_factory.mktemp("eager")
    (folder / "windows.yaml").write_text(WINDOWS)
    network = (
        "network_def: {_target_: UNet, spatial_dims: 3, in_channels: 1, out_channels: 3, channels: [4, 8], "
        "strides: [2], num_res_units: 1, norm: INSTANCE}\n"
    )
    (folder / "eager.yaml").write_text(WINDOWS + network)
    save_file(tiny_unet().state_dict(), folder / "eager.safetensors")
    return folder


@pytest.mark.parametrize(
    ("name", "any_batch"),
    [
        *((name, True) for name in FORMATS),
        *(pytest.param(name, False, marks=pytest.mark.slow) for name in ("program.pt2", "graph.onnx")),
    ],
)
def test_whole_networks_give_the_label_maps_of_their_weights(rankseg_med, phantom, eager, tmp_path, name, any_batch):
    """By argmax, whose label maps differ where two logits do not differ by more than rounding."""
    network = write(tiny_unet(), tmp_path / name, torch.zeros(2, 1, 16, 16, 16), any_batch=any_batch)
    image, common = phantom / "image.nii.gz", ("--device", "cpu", "--output")
    options = ("--config", eager / "eager.yaml", "--checkpoint", eager / "eager.safetensors")
    assert rankseg_med("predict", image, *options, *common, tmp_path / "eager").code == 0
    options = ("--config", eager / "windows.yaml", "--network", network)
    assert rankseg_med("predict", image, *options, *common, tmp_path / "whole").code == 0
    expected, found = (voxels_of(tmp_path / folder / "image.nii.gz") for folder in ("eager", "whole"))
    assert len(np.unique(expected)) == 3
    assert (expected != found).mean() < 1e-5
    # Another network in the same file: what is there is stale.
    write(tiny_unet(seed=1), network, torch.zeros(2, 1, 16, 16, 16), any_batch=any_batch)
    stale = rankseg_med("predict", image, *options, *common, tmp_path / "whole")
    assert (stale.code, "stale: image" in stale.out) == (1, True)


def test_whole_networks_are_an_ensemble(rankseg_med, phantom, eager, tmp_path):
    networks = [write(tiny_unet(seed=s), tmp_path / f"trace{s}.pt", torch.zeros(2, 1, 16, 16, 16)) for s in (0, 1)]
    weights = []
    for seed in (0, 1):
        weights.append(tmp_path / f"{seed}.safetensors")
        save_file(tiny_unet(seed=seed).state_dict(), weights[-1])
    for folder, config, option, files in (
        ("eager", "eager.yaml", "--checkpoint", weights),
        ("whole", "windows.yaml", "--network", networks),
    ):
        options = (option, files[0], option, files[1], "--device", "cpu", "--output", tmp_path / folder)
        assert rankseg_med("predict", phantom / "image.nii.gz", "--config", eager / config, *options).code == 0
    expected, found = (voxels_of(tmp_path / folder / "image.nii.gz") for folder in ("eager", "whole"))
    assert (expected != found).mean() < 1e-5


def test_windows_that_do_not_fit_a_network_fail_the_study(rankseg_med, phantom, eager, tmp_path):
    network = write(tiny_unet(), tmp_path / "program.pt2", torch.zeros(2, 1, 32, 32, 32))
    options = ("--config", eager / "windows.yaml", "--network", network, "--device", "cpu")
    message = failing(rankseg_med, phantom / "image.nii.gz", tmp_path / "out", *options)
    assert "takes windows (any, 1, 32, 32, 32)" in " ".join(message.split())


def test_nan_weights_of_onnx_fail_the_study(rankseg_med, phantom, eager, tmp_path):
    """Which onnxruntime does not show; the first window does."""
    broken = tiny_unet()
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    network = write(broken, tmp_path / "graph.onnx", torch.zeros(2, 1, 16, 16, 16))
    options = ("--config", eager / "windows.yaml", "--network", network, "--device", "cpu")
    assert "NaN or infinite logits" in failing(rankseg_med, phantom / "image.nii.gz", tmp_path / "out", *options)


def test_weights_and_networks_exclude_each_other(rankseg_med, phantom, eager, tmp_path):
    common = ("predict", phantom / "image.nii.gz", "--config", eager / "windows.yaml", "--output", tmp_path / "out")
    for given in ((), ("--checkpoint", "demo", "--network", tmp_path / "model.pt")):
        result = rankseg_med(*common, *given)
        assert result.code == 2
        assert "--network" in result.err


def test_transformers_see_slices(rankseg_med, phantom, eager, tmp_path):
    pytest.importorskip("transformers", reason=REASON)
    segformer().save_pretrained(tmp_path / "segformer")
    config = tmp_path / "slices.yaml"
    config.write_text(
        WINDOWS.replace("[16, 16, 16]", "[64, 64]").replace("[6, 6, 8]", "[3, 3, 4]")
        + "inferer::axis: 2\ninferer::neighbours: 1\n"
    )
    options = ("--config", config, "--network", tmp_path / "segformer", "--device", "cpu", "--output", tmp_path / "out")
    assert rankseg_med("predict", phantom / "image.nii.gz", *options).code == 0
    assert voxels_of(tmp_path / "out" / "image.nii.gz").shape == (96, 96, 48)
    labels = ("--set", "network_def::labels=[0, 2, 1]")
    assert rankseg_med("predict", phantom / "image.nii.gz", *options[:-1], tmp_path / "swapped", *labels).code == 0
    swapped = np.array([0, 2, 1])[voxels_of(tmp_path / "swapped" / "image.nii.gz")]
    np.testing.assert_array_equal(swapped, voxels_of(tmp_path / "out" / "image.nii.gz"))
    # The same network, of a config and a checkpoint.
    built = tmp_path / "built.yaml"
    arguments = "num_labels: 3, depths: [1, 1, 1, 1], hidden_sizes: [8, 8, 8, 8], num_attention_heads: [1, 1, 1, 1]"
    built.write_text(
        config.read_text() + "network_def:\n  _target_: rankseg_med.networks.SemanticSegmentation\n"
        "  model:\n    _target_: transformers.SegformerForSemanticSegmentation\n"
        f"    config: {{_target_: transformers.SegformerConfig, {arguments}, decoder_hidden_size: 8}}\n"
    )
    save_file(segformer().state_dict(), tmp_path / "w.safetensors")
    options = ("--config", built, "--checkpoint", tmp_path / "w.safetensors", "--device", "cpu")
    assert rankseg_med("predict", phantom / "image.nii.gz", *options, "--output", tmp_path / "built").code == 0
    np.testing.assert_array_equal(
        voxels_of(tmp_path / "built" / "image.nii.gz"), voxels_of(tmp_path / "out" / "image.nii.gz")
    )
