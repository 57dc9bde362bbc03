import hashlib
import os
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from rankseg_med.networks import CheckpointError, NetworkFile, load_weights, shipped_checkpoint


class Tiny(torch.nn.Module):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.first = torch.nn.Conv3d(1, width, 3)
        self.last = torch.nn.Conv3d(width, 2, 1)

    def forward(self, windows):
        return self.last(self.first(windows))


@pytest.fixture
def trained():
    torch.manual_seed(1)
    return Tiny()


def assert_loaded(network, trained):
    for ours, theirs in zip(network.parameters(), trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("nesting", [(), ("network",), ("model",), ("state_dict",), ("net",), ("teacher",), ("ema",)])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "network.", "student.", "teacher.", "ema.", "net.", "model.", "_orig_mod.module."]
)
def test_pytorch_files(tmp_path, trained, nesting, prefix):
    content = {prefix + name: value for name, value in trained.state_dict().items()}
    for key in nesting:
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / "w.pt")
    network = Tiny()
    load_weights(network, tmp_path / "w.pt")
    assert_loaded(network, trained)


def prefixed(prefix, network):
    return {prefix + name: value for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    "beside",
    [
        {"criterion.class_weights": torch.ones(2)},  # Lightning keeps what its module holds in one dictionary
        {"n_averaged": torch.tensor(7)},  # torch.optim.swa_utils.AveragedModel
        {"loss.net.first.weight": torch.ones(1)},
    ],
)
@pytest.mark.parametrize("prefix", ["net.", "model.", "module."])
def test_a_network_beside_other_things(tmp_path, trained, prefix, beside):
    torch.save({"state_dict": {**prefixed(prefix, trained), **beside}, "epoch": 3}, tmp_path / "w.ckpt")
    network = Tiny()
    load_weights(network, tmp_path / "w.ckpt")
    assert_loaded(network, trained)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("student", "teacher"), [("student", "teacher"), ("model", "ema"), ("net", "ema_model.module"), ("network", "ema")]
)
def test_a_teacher_is_taken_rather_than_its_student(tmp_path, trained, nested, student, teacher):
    other = Tiny()
    if nested:
        content = {student: other.state_dict(), teacher.split(".")[0]: trained.state_dict()}
    else:
        content = prefixed(f"{student}.", other) | prefixed(f"{teacher}.", trained)
    torch.save({"state_dict": content}, tmp_path / "w.pt")
    network = Tiny()
    load_weights(network, tmp_path / "w.pt")
    assert_loaded(network, trained)


def test_a_network_that_is_a_wrapper_itself(tmp_path, trained):
    """As MONAI's UNet, all of whose names begin with ``model.``."""
    network = torch.nn.ModuleDict({"model": Tiny()})
    for prefix in ("", "model.", "net.model.", "module."):
        torch.save(prefixed(prefix, trained), tmp_path / "w.pt")
        load_weights(network, tmp_path / "w.pt")
        assert_loaded(network, trained)


def test_names_without_wrappers_are_named(tmp_path, trained):
    content = prefixed("module.network.", trained)
    content["module.network.extra"] = content.pop("module.network.last.bias")
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"missing: last\.bias; unexpected: extra"):
        load_weights(Tiny(), tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_whole_networks_are_no_checkpoints(tmp_path, trained):
    torch.jit.script(trained).save(tmp_path / "w.pt")
    (tmp_path / "w.onnx").write_bytes(b"whatever")
    for name in ("w.pt", "w.onnx"):
        with pytest.raises(CheckpointError, match=f"{name}: is a whole network, to be given with --network"):
            load_weights(Tiny(), tmp_path / name)


def test_one_entry_of_many(tmp_path, trained):
    torch.save({"network": Tiny(3).state_dict(), "head": trained.state_dict()}, tmp_path / "w.pt")
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    network = Tiny()
    load_weights(network, tmp_path / "w.pt", entry="head")
    assert_loaded(network, trained)
    for file, entry in (("w.pt", "tail"), ("w.safetensors", "head")):
        with pytest.raises(CheckpointError, match=f"{file}: holds no {entry}"):
            load_weights(network, tmp_path / file, entry=entry)


def test_safetensors(tmp_path, trained):
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    network = Tiny()
    load_weights(network, tmp_path / "w.safetensors")
    assert_loaded(network, trained)


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_code_in_a_checkpoint_is_refused(tmp_path, capsys):
    torch.save({"network": Evil()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="must hold tensors only, since other pickled objects can run code"):
        load_weights(Tiny(), tmp_path / "w.pt")
    assert "code ran" not in capsys.readouterr().out


def test_another_network_is_named_and_leaves_the_weights(tmp_path, trained):
    weights = Tiny(width=3).state_dict()
    del weights["last.bias"]
    weights["extra"] = torch.zeros(1)
    save_file(weights, tmp_path / "w.safetensors")
    network = Tiny()
    before = network.first.weight.clone()
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, tmp_path / "w.safetensors")
    message = str(caught.value)
    assert "missing: last.bias" in message
    assert "unexpected: extra" in message
    assert "first.weight (3, 1, 3, 3, 3) where the network has (2, 1, 3, 3, 3)" in message
    assert torch.equal(network.first.weight, before)


def saved(weights, path):
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"network": weights}, path)
    return path


@pytest.fixture(params=["w.pt", "w.safetensors"])
def path(request, tmp_path):
    return tmp_path / request.param


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool])
def test_weights_that_are_no_real_numbers(path, trained, dtype):
    """Quantised to whole numbers without their scale, they would be loaded as if they were the weights."""
    weights = {**trained.state_dict(), "first.weight": (trained.first.weight * 10).to(dtype)}
    network = Tiny()
    before = network.first.weight.clone()
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, saved(weights, path))
    assert f"of another kind of number: first.weight {dtype} where the network has torch.float32" in str(caught.value)
    assert torch.equal(network.first.weight, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision(path, trained, dtype):
    network = Tiny()
    load_weights(network, saved({name: value.to(dtype) for name, value in trained.state_dict().items()}, path))
    assert network.first.weight.dtype == torch.float32
    torch.testing.assert_close(network.first.weight, trained.first.weight, rtol=1e-2, atol=0)


def test_counts_that_are_no_whole_numbers(path):
    norm = torch.nn.BatchNorm3d(2)
    load_weights(torch.nn.BatchNorm3d(2), saved(norm.state_dict(), path))
    counted = {**norm.state_dict(), "num_batches_tracked": torch.tensor(0.5)}
    with pytest.raises(CheckpointError, match=r"num_batches_tracked torch\.float32 where the network has torch\.int64"):
        load_weights(norm, saved(counted, path))


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), None), (float("-inf"), None), (1e39, torch.float64)])
def test_weights_that_are_not_finite(path, trained, value, dtype):
    weights = {name: weight.to(dtype or torch.float32).clone() for name, weight in trained.state_dict().items()}
    weights["last.weight"].flatten()[1] = value
    network = Tiny()
    before = network.first.weight.clone()
    with pytest.raises(CheckpointError, match=rf"{path.name}: not finite: last\.weight; training had diverged"):
        load_weights(network, saved(weights, path))
    assert torch.equal(network.first.weight, before)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_weights_that_a_file_holds_twice(tmp_path, trained):
    path = saved(trained.state_dict(), tmp_path / "w.pt")
    with zipfile.ZipFile(path, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data/0"))
        archive.writestr(name, bytes(len(archive.read(name))))
    with pytest.raises(CheckpointError, match=rf"w\.pt: holds twice: {name}"):
        load_weights(Tiny(), path)


def test_what_is_no_regular_file_is_not_opened(path):
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match=rf"{path.name}: is no regular file"):
        load_weights(Tiny(), path)


def test_a_file_that_must_not_be_read(public_folder, trained, as_another_user):
    path = saved(trained.state_dict(), public_folder / "w.pt")
    path.chmod(0)
    with (
        as_another_user(),
        pytest.raises(CheckpointError, match=r"w\.pt: must not be read by this user .*Permission denied"),
    ):
        load_weights(Tiny(), path)


NO_CHECKPOINTS = [
    b"hello",
    b"extends: lits\n",
    b"train.json",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    b"<!DOCTYPE html><html></html>",
    b'{"epoch": 3}',
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
]
"""What is downloaded or named in a checkpoint's place."""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pt", None, "no such checkpoint file"),
        ("damaged.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{not json", "is damaged or no checkpoint"),
        ("damaged.pt", b"PK\x03\x04 cut short", "is damaged or no checkpoint"),
        ("empty.pt", b"", "is damaged or no checkpoint"),
        *((f"text_{at}.pt", text, "is damaged or no checkpoint") for at, text in enumerate(NO_CHECKPOINTS)),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_weights(Tiny(), tmp_path / name)


def test_advice_to_unpickle_is_not_passed_on(tmp_path):
    (tmp_path / "w.pt").write_bytes(NO_CHECKPOINTS[3])
    with pytest.raises(CheckpointError) as refusal:
        load_weights(Tiny(), tmp_path / "w.pt")
    assert "weights_only" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["weights", "TorchScript"])
def test_one_wrong_bit_is_noticed(tmp_path, trained, kind):
    path = tmp_path / "w.pt"
    torch.save(trained.state_dict(), path) if kind == "weights" else torch.jit.script(trained).save(path)
    content = bytearray(path.read_bytes())
    weights = trained.first.weight.detach().numpy().tobytes()
    content[content.index(weights)] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pt: is damaged \(.* has another checksum than when it was saved\)"):
        load_weights(Tiny(), path) if kind == "weights" else NetworkFile().read(path)


def test_a_file_without_state_dictionary(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="must hold a state dictionary"):
        load_weights(Tiny(), tmp_path / "w.pt")


def test_shipped_weights_are_small_and_there():
    path = shipped_checkpoint("demo")
    assert path is not None
    assert path.stat().st_size < 1_000_000
    assert shipped_checkpoint("no such") is None


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_only_the_content_that_was_asked_for_is_loaded(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    network = torch.nn.Linear(2, 1)
    save = save_file if suffix == ".safetensors" else torch.save
    save(network.state_dict(), path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    load_weights(torch.nn.Linear(2, 1), path, sha256=expected)
    save({name: values + 1 for name, values in network.state_dict().items()}, path)
    with pytest.raises(CheckpointError, match="is not the file that it was when the run began"):
        load_weights(torch.nn.Linear(2, 1), path, sha256=expected)
