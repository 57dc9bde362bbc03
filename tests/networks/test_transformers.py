import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rankseg_med.decode import ArgmaxDecoder
from rankseg_med.inference import StreamingInferer
from rankseg_med.networks import (
    CheckpointError,
    NetworkFile,
    SemanticSegmentation,
    load_weights,
    logits_of_queries,
    network_sha256,
)
from tests.networks.given_transformers import REASON, mask2former, oneformer, segformer

transformers = pytest.importorskip("transformers", reason=REASON)

TASK = [[1.0, 5.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]]


def label_maps(network: torch.nn.Module, volume: torch.Tensor, window: tuple[int, int]) -> torch.Tensor:
    """Slices through the streaming inferer, each with its neighbours as channels; one argmax of the whole volume."""
    inferer = StreamingInferer(window, axis=2, neighbours=1)
    session = ArgmaxDecoder().open(3, tuple(volume.shape[1:]), axis=2)
    for slab in inferer(volume, network, num_classes=3):
        session.update(slice(slab.start, slab.stop), slab.probabilities)
    return session.finalize().label_map


def channels_of(volume: torch.Tensor, slice_index: int) -> torch.Tensor:
    last = volume.shape[-1] - 1
    return torch.stack([volume[0, :, :, min(max(slice_index + step, 0), last)] for step in (-1, 0, 1)])[None]


@pytest.mark.parametrize(
    ("make", "processor", "window"),
    [
        (segformer, "SegformerImageProcessorPil", (64, 96)),
        (mask2former, "Mask2FormerImageProcessorPil", (384, 384)),  # which its own post-processing always goes through
    ],
)
def test_label_maps_are_those_of_transformers(make, processor, window):
    model = make()
    volume = torch.randn(1, *window, 2)
    found = label_maps(SemanticSegmentation(model), volume, window)
    for index in range(2):
        with torch.no_grad():
            output = model(pixel_values=channels_of(volume, index))
        (expected,) = getattr(transformers, processor)().post_process_semantic_segmentation(output, [window])
        assert len(expected.unique()) > 1
        # Where two classes are equal but for the last digit, either may come first.
        assert (found[:, :, index] == expected).float().mean() > 1 - 1e-4


def test_oneformer_is_told_its_task(tmp_path):
    """Its own post-processing, of masks that were carried to the window first, as its authors do."""
    model, window = oneformer(), (64, 64)
    volume = torch.randn(1, *window, 1)
    model.save_pretrained(tmp_path)
    network = NetworkFile(inputs={"task_inputs": TASK})
    network.read(tmp_path)
    found = label_maps(network, volume, window)
    with torch.no_grad():
        output = model(pixel_values=channels_of(volume, 0), task_inputs=torch.tensor(TASK))
    output.masks_queries_logits = torch.nn.functional.interpolate(
        output.masks_queries_logits, size=window, mode="bilinear", align_corners=False
    )
    process = transformers.OneFormerImageProcessorPil.post_process_semantic_segmentation
    (expected,) = process(None, output, [window])
    assert len(expected.unique()) > 1
    assert (found[:, :, 0] == expected).float().mean() > 1 - 1e-4


def test_shares_of_queries_by_hand():
    """Two queries: one sure of class 1 over half of the pixels, one torn between class 0 and nothing everywhere."""
    classes = torch.tensor([[[-100.0, 100.0, -100.0], [0.0, -100.0, 0.0]]])
    masks = torch.tensor([[[100.0, -100.0], [0.0, 0.0]]])
    # votes: class 0 has 0.5 * 0.5 in both pixels, class 1 has 1 in the first and 0 in the second.
    shares = logits_of_queries(classes, masks).softmax(1)
    torch.testing.assert_close(shares, torch.tensor([[[0.2, 1.0], [0.8, 0.0]]]))


def test_pixels_that_no_query_finds_stay_finite():
    logits = logits_of_queries(torch.zeros(1, 4, 3), torch.full((1, 4, 5, 5), -200.0))
    assert logits.isfinite().all()
    torch.testing.assert_close(logits.softmax(1), torch.full((1, 2, 5, 5), 0.5))


def test_labels_are_put_in_order():
    model, windows = segformer(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        plain, ordered = SemanticSegmentation(model)(windows), SemanticSegmentation(model, labels=[2, 0, 1])(windows)
    torch.testing.assert_close(ordered, plain[:, [2, 0, 1]])


@pytest.fixture
def folder(tmp_path):
    segformer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_is_a_network(folder):
    network = NetworkFile()
    network.read(folder, sha256=network_sha256(folder))
    windows = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(windows), SemanticSegmentation(segformer())(windows))


def test_weights_of_the_model_without_its_wrapper(tmp_path):
    """Names in the file lack what the wrapper puts before them."""
    trained, network = segformer(), SemanticSegmentation(segformer())
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    torch.nn.init.zeros_(next(network.parameters()))
    load_weights(network, tmp_path / "w.pt")
    for name, tensor in trained.state_dict().items():
        assert torch.equal(network.model.state_dict()[name], tensor), name


def test_every_file_of_a_folder_counts(folder):
    before = network_sha256(folder)
    (folder / "README.md").write_text("no part of the network")
    assert network_sha256(folder) == before
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"hidden_act": "gelu"', '"hidden_act": "relu"'))
    assert network_sha256(folder) != before
    with pytest.raises(CheckpointError, match="is not the file that it was when the run began"):
        NetworkFile().read(folder, sha256=before)


def without(name):
    def change(weights):
        del weights[name]

    return change


def with_nan(weights):
    weights["decode_head.classifier.bias"][0] = np.nan


def with_more(weights):
    weights["extra"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("decode_head.classifier.bias"), r"missing: decode_head\.classifier\.bias"),
        (with_more, "unexpected: extra"),
        (with_nan, r"not finite: decode_head\.classifier\.bias"),
    ],
)
def test_weights_that_do_not_fit(folder, change, message):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=message):
        NetworkFile().read(folder)


def test_folders_that_are_something_else(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="must be a folder that save_pretrained of transformers wrote"):
        NetworkFile().read(tmp_path / "empty")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"with config\.json and weights as safetensors"):
        NetworkFile().read(folder)


def test_code_of_a_folder_does_not_run(folder, tmp_path):
    config = folder / "config.json"
    config.write_text(
        '{"auto_map": {"AutoConfig": "own.Own"}, "model_type": "own", '
        '"architectures": ["SegformerForSemanticSegmentation"]}'
    )
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(CheckpointError, match="must be a folder"):
        NetworkFile().read(folder)
    assert not (tmp_path / "ran").exists()


def test_without_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"pip install 'rankseg_med\[transformers\]'"):
        NetworkFile().read(folder)
