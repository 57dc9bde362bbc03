"""Programs that would run other code than tensors' operators, each made of a sound one."""

import io
import json
import pickle
import zipfile

import pytest
import torch

from rankseg_med.networks import CheckpointError, NetworkFile
from tests.networks.exports import tiny_unet, write


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.fixture
def sound(tmp_path):
    return write(tiny_unet(), tmp_path / "program.pt2", torch.randn(2, 1, 16, 16, 16))


def changed(path, changes):
    """The same archive with members changed: end of a name to a function of its bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for ending, change in changes.items():
        (name,) = [name for name in members if name.endswith(ending)]
        members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def graph(change):
    def changed_json(content):
        entries = json.loads(content)
        change(entries)
        return json.dumps(entries).encode()

    return changed_json


def read(path):
    network = NetworkFile()
    network.read(path)
    return network


def pickled(content: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save({"evil": Evil()}, buffer)
    return buffer.getvalue()


def test_what_torch_would_unpickle_is_not_read(sound, capsys, monkeypatch):
    monkeypatch.setattr("logging.raiseExceptions", False)  # torch gives its message too few arguments
    changed(sound, {"sample_inputs/model.pt": pickled})
    torch.export.load(sound)
    assert "code ran" in capsys.readouterr().out
    assert read(sound)(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
    assert "code ran" not in capsys.readouterr().out


def set_pickled(entries):
    next(iter(entries["config"].values()))["use_pickle"] = True


def set_opaque(entries):
    entries["config"]["thing"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}


@pytest.mark.parametrize(
    ("ending", "change"),
    [("model_weights_config.json", set_pickled), ("model_constants_config.json", set_opaque)],
)
def test_pickled_tensors_are_refused(sound, capsys, ending, change):
    changed(sound, {ending: graph(change), "weights/weight_0": pickled})
    with pytest.raises(CheckpointError, match="is pickled, which is never read"):
        read(sound)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "torch.os.system",
        "torch.ops.aten.save.default",
        "torch.ops.aten.from_file.default",
        "torch.ops.prim.PythonOp.default",
        "_operator.methodcaller",
        "#external:function",
        "math.sqrt",
    ],
)
def test_other_functions_than_operators_are_refused(sound, target):
    def change(entries):
        entries["graph_module"]["graph"]["nodes"][0]["target"] = target

    changed(sound, {"models/model.json": graph(change)})
    with pytest.raises(CheckpointError, match=r"must call operators of tensors alone \(torch.ops.aten\), got"):
        read(sound)


def test_formulas_of_sizes_are_no_code(sound, capsys):
    def change(entries):
        sizes = entries["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = "print('code ran')"

    changed(sound, {"models/model.json": graph(change)})
    with pytest.raises(CheckpointError, match="has a size that is no formula of sizes: print"):
        read(sound)
    assert "code ran" not in capsys.readouterr().out


def test_text_of_guards_is_not_run(sound, capsys):
    def change(entries):
        entries["guards_code"] = ["print('code ran') is None"]

    changed(sound, {"models/model.json": graph(change)})
    read(sound)(torch.zeros(1, 1, 16, 16, 16))
    assert "code ran" not in capsys.readouterr().out


def test_trees_of_other_classes_are_refused(sound):
    def change(entries):
        signature = entries["graph_module"]["module_call_graph"][0]["signature"]
        signature["out_spec"] = signature["out_spec"].replace("null", '"collections.defaultdict"', 1)

    changed(sound, {"models/model.json": graph(change)})
    with pytest.raises(CheckpointError, match="must take and return tensors, lists and dictionaries, got collections"):
        read(sound)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice(sound):
    with zipfile.ZipFile(sound, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith("weight_0"))
        archive.writestr(name, pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="holds twice"):
        read(sound)


def test_a_compiled_package_is_refused(sound):
    with zipfile.ZipFile(sound, "w") as archive:
        archive.writestr("model/data/aotinductor/model/model.so", b"")
    with pytest.raises(CheckpointError, match="compiled packages are not run"):
        read(sound)
