import hashlib
import sys

import pytest
import torch
from safetensors.torch import save_file

from rankseg_med.networks import CheckpointError, NetworkFile, network_sha256
from tests.networks.exports import FORMATS, skip_without, tiny_unet, write

WINDOWS = (2, 1, 16, 16, 16)


def read(path, **options) -> NetworkFile:
    network = NetworkFile(**options).eval()
    network.read(path)
    return network


@pytest.fixture(scope="module")
def eager():
    return tiny_unet()


@pytest.mark.parametrize("any_batch", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_logits_are_those_of_the_network(tmp_path, eager, name, any_batch):
    """A program of a fixed batch takes any number of windows: batches are filled up."""
    network = read(write(eager, tmp_path / name, torch.randn(WINDOWS), any_batch=any_batch))
    for count in (1, 2, 5):
        windows = torch.randn(count, *WINDOWS[1:])
        with torch.no_grad():
            torch.testing.assert_close(network(windows), eager(windows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["program.pt2", "graph.onnx"])
def test_windows_that_do_not_fit(tmp_path, eager, name):
    network = read(write(eager, tmp_path / name, torch.randn(WINDOWS)))
    for shape in ((2, 1, 16, 16, 24), (2, 2, 16, 16, 16), (2, 1, 16, 16)):
        with pytest.raises(CheckpointError, match=rf"{name}: takes windows \((any|\w+), 1, 16, 16, 16\)") as caught:
            network(torch.randn(shape))
        assert f"got {shape}; set roi_size" in str(caught.value)


class OneSize(torch.nn.Module):
    """Its mask fits windows of 16 pixels alone, which only running it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = torch.nn.Parameter(torch.ones(16))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return windows * self.mask


def test_windows_that_fail_within(tmp_path):
    network = read(write(OneSize(), tmp_path / "script.pt", torch.randn(1, 1, 16, 16)))
    with pytest.raises(CheckpointError, match=r"script\.pt: does not take windows \(1, 1, 16, 24\): .*; set roi_size"):
        network(torch.randn(1, 1, 16, 24))


class Deep(torch.nn.Module):
    """Returns an output at half the resolution too."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_unet()

    def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.network(windows)
        return logits, logits[..., ::2]


@pytest.mark.parametrize("name", FORMATS[1:])
def test_several_outputs(tmp_path, name):
    path = write(Deep().eval(), tmp_path / name, torch.randn(WINDOWS), any_batch=False)
    windows = torch.randn(3, *WINDOWS[1:])
    first, second = read(path)(windows)
    assert (first.shape, second.shape) == ((3, 3, 16, 16, 16), (3, 3, 16, 16, 8))


@pytest.mark.parametrize("name", FORMATS)
def test_labels_in_another_order(tmp_path, eager, name):
    path = write(eager, tmp_path / name, torch.randn(WINDOWS))
    windows = torch.randn(WINDOWS)
    with torch.no_grad():
        expected = eager(windows).softmax(1)
        found = read(path, labels=[2, [0, 1]])(windows).softmax(1)
    torch.testing.assert_close(found[:, 0], expected[:, 2], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found[:, 1], expected[:, 0] + expected[:, 1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 3], [0, [1, 1], 2], [0, [], 1, 2]])
def test_labels_that_do_not_fit(tmp_path, eager, labels):
    path = write(eager, tmp_path / "script.pt", torch.randn(WINDOWS))
    with pytest.raises(CheckpointError, match="labels must name each of the network's 3 labels, 0 to 2, once"):
        read(path, labels=labels)(torch.randn(WINDOWS))


@pytest.mark.parametrize("name", FORMATS[:3])
def test_weights_that_are_not_finite(tmp_path, name):
    network = tiny_unet()
    with torch.no_grad():
        next(network.parameters()).flatten()[0] = torch.nan
    path = write(network, tmp_path / name, torch.randn(WINDOWS))
    with pytest.raises(CheckpointError, match=f"{name}: not finite: .*weight; training had diverged"):
        read(path)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("keep", [0, 0.5])
def test_damaged_files(tmp_path, eager, name, keep):
    path = write(eager, tmp_path / name, torch.randn(WINDOWS))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(CheckpointError, match=rf"{name}: (is damaged|must be a whole network|must hold a program)"):
        read(path)


@pytest.mark.parametrize("name", ["image.pt", "image.pt2", "image.onnx", "image.txt"])
def test_files_that_are_something_else(tmp_path, name):
    skip_without(name)
    (tmp_path / name).write_bytes(b"no network")
    with pytest.raises(CheckpointError, match=name):
        read(tmp_path / name)


def test_weights_alone_are_pointed_to_their_option(tmp_path, eager):
    torch.save(eager.state_dict(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="got weights alone, to be given with --checkpoint"):
        read(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        read(tmp_path / "absent.onnx")


def test_inputs_that_nothing_takes(tmp_path, eager):
    path = write(eager, tmp_path / "script.pt", torch.randn(WINDOWS))
    with pytest.raises(CheckpointError, match="inputs are for a folder of transformers"):
        read(path, inputs={"task_inputs": [[1.0]]})


def test_only_the_content_that_was_asked_for_is_read(tmp_path, eager):
    path = write(eager, tmp_path / "script.pt", torch.randn(WINDOWS))
    sha256 = network_sha256(path)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    NetworkFile().read(path, sha256=sha256)
    write(tiny_unet(seed=1), path, torch.randn(WINDOWS))
    with pytest.raises(CheckpointError, match="is not the file that it was when the run began"):
        NetworkFile().read(path, sha256=sha256)


def test_weights_beside_an_onnx_file_are_refused(tmp_path, eager):
    """What the hash of the file does not speak of is not read."""
    skip_without("graph.onnx")
    pytest.importorskip("onnxscript", reason="onnxscript, which writes ONNX, is not installed")
    torch.onnx.export(eager, (torch.randn(WINDOWS),), tmp_path / "graph.onnx", verbose=False, external_data=True)
    assert (tmp_path / "graph.onnx.data").is_file()
    with pytest.raises(CheckpointError, match=r"weights must be in the same file, .*external_data=False"):
        read(tmp_path / "graph.onnx")


def test_onnx_without_its_extra(tmp_path, monkeypatch):
    (tmp_path / "graph.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match=r"pip install 'rankseg_med\[onnx\]'"):
        read(tmp_path / "graph.onnx")


def test_weights_as_safetensors_are_no_network(tmp_path, eager):
    save_file(eager.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="must be a whole network"):
        read(tmp_path / "w.safetensors")
