"""Programs of ``torch.export`` (.pt2), read without what could run other code than tensors' operators.

``torch.export.load`` unpickles anything (sample inputs, tensor subclasses, opaque constants) with
``weights_only=False``, runs the text of guards, evaluates that of sizes, and looks functions up by any name. So it is
given a copy of the archive that holds the graph and plain tensors alone, after the graph was looked through.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from rankseg_med.networks.errors import CheckpointError

_GRAPH = "models/model.json"
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_COPIED = re.compile(r"data/(weights|constants)/\w+|archive_\w+|byteorder|\.data/\w+")
_PLAIN_TENSOR = re.compile(r"(weight|tensor)_\d+")
# Operators of tensors; two of them write files. Of Python's, those that sizes are reckoned with.
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!(save|from_file)\.)\w+\.\w+|torch\.sym_\w+"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
# What sympy writes formulas of sizes with: symbols, their properties, and functions.
_NAMES_IN_SIZES = re.compile(
    r"[suz]\d+|Symbol|Integer|Rational|positive|nonnegative|integer|True|False|true|false|int_oo|oo"
    r"|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|CeilToInt|IntTrueDiv|ModularIndexing|Where"
    r"|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|LessThan|StrictLessThan|GreaterThan|StrictGreaterThan|And|Or|Not"
)
_NODES_OF_TREES = re.compile(r"builtins\.(tuple|list|dict)")


def load_program(data: bytes, path: Path) -> torch.export.ExportedProgram:
    """A program from the content of its file.

    Args:
        data: The content.
        path: File that errors name.

    Raises:
        CheckpointError: It holds pickles or compiled code that it does not work without, calls others than tensors'
            operators, is of a version that this PyTorch does not read, or is damaged.
    """
    try:
        checked = _checked(data, path)
        return torch.export.load(checked)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path}: is damaged, or a program of a version that PyTorch {torch.__version__} does not read; export it "
            f"again with torch.export.save ({type(error).__name__}: {error})"
        ) from error


def _checked(data: bytes, path: Path) -> BytesIO:
    """The archive with its graph and plain tensors alone."""
    copy = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as archive, zipfile.ZipFile(copy, "w") as checked:
        members = {name.partition("/")[2]: name for name in archive.namelist()}
        if _GRAPH not in members:
            raise CheckpointError(
                f"{path}: must hold a program that torch.export.save of PyTorch 2.8 or later wrote, got none "
                f"({_GRAPH}); compiled packages are not run"
            )
        for place, name in members.items():
            if place == _GRAPH:
                checked.writestr(name, json.dumps(_checked_graph(json.loads(archive.read(name)), path)))
            elif place == _SAMPLE_INPUTS:
                checked.writestr(name, b"")
            elif place in _CONFIGS:
                _check_tensors(json.loads(archive.read(name)), path)
                checked.writestr(name, archive.read(name))
            elif _COPIED.fullmatch(place):
                checked.writestr(name, archive.read(name))
    copy.seek(0)
    return copy


def _check_tensors(config: dict[str, Any], path: Path) -> None:
    for name, entry in config["config"].items():
        if entry["use_pickle"] or not _PLAIN_TENSOR.fullmatch(entry["path_name"]):
            raise CheckpointError(
                f"{path}: {name} is pickled, which is never read; export the network with plain tensors alone"
            )


def _checked_graph(program: dict[str, Any], path: Path) -> dict[str, Any]:
    program["guards_code"] = []
    for key, text in _texts(program):
        if key in ("target", "as_operator") and not _OPERATOR.fullmatch(text):
            raise CheckpointError(f"{path}: must call operators of tensors alone (torch.ops.aten), got {text}")
        if key in ("expr_str", "range_constraints"):
            for name in re.findall(r"[^\W\d]\w*", text):
                if not _NAMES_IN_SIZES.fullmatch(name):
                    raise CheckpointError(f"{path}: has a size that is no formula of sizes: {text}")
        if key in ("in_spec", "out_spec"):
            for kind in re.findall(r'"type": "([^"]*)"', text):
                if not _NODES_OF_TREES.fullmatch(kind):
                    raise CheckpointError(f"{path}: must take and return tensors, lists and dictionaries, got {kind}")
    return program


def _texts(entry: Any, key: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """Every text with the key that it stands under; of what sizes are called, the names too."""
    if isinstance(entry, str):
        yield key, entry
    elif isinstance(entry, list):
        for item in entry:
            yield from _texts(item, key)
    elif isinstance(entry, dict):
        for name, item in entry.items():
            if key == "range_constraints":
                yield key, name
            yield from _texts(item, name)
