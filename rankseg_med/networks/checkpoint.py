"""Weights on disk to a network in memory, never by unpickling."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from rankseg_med.networks.errors import CheckpointError, MisfitError
from rankseg_med.networks.files import listed, names_in_archive, read_file
from rankseg_med.networks.names import WRAPPERS, renamed

_OF_DAMAGED_PICKLES = (
    *(RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, OverflowError),
    struct.error,
)

SHIPPED_WEIGHTS = Path(__file__).parent / "weights"


def shipped_checkpoint(name: str) -> Path | None:
    """Weights that come with the package, by name (``"demo"``); None if there are none of that name."""
    path = SHIPPED_WEIGHTS / f"{name}.safetensors"
    return path if path.is_file() else None


def load_weights(
    network: torch.nn.Module, checkpoint: Path, *, entry: str | None = None, sha256: str | None = None
) -> None:
    """Fill a network with the weights of a checkpoint, all of them or none.

    Args:
        network: Any module; its parameters and buffers are overwritten.
        checkpoint: ``.safetensors``, or a PyTorch file (``.pt``, ``.pth``, ``.ckpt``) holding a state dictionary,
            alone or under ``network``, ``model``, ``state_dict``, ``net``, ``teacher``, ``ema`` or ``student``; of
            several, a teacher's. PyTorch files are read with ``weights_only=True``, so that a file from elsewhere
            cannot run code. Such words before every name (``module.network.first.bias``) are understood; see `renamed`.
        entry: Name of the state dictionary in a PyTorch file, where it is not the network's own, such as
            ``"calibration"``.
        sha256: Hash that the file's content must have, 64 hexadecimal digits; by default any. The bytes that are
            hashed are those that are loaded.

    Raises:
        CheckpointError: The file is missing, damaged, holds other objects than tensors or one of them twice, or does
            not fit the network; the message names missing, unexpected and misshapen entries, those of another kind of
            number (quantised weights), and those that are not finite. Or its content has another hash.
    """
    weights = read_weights(checkpoint, entry, sha256)
    fill_network(network, renamed(weights, network.state_dict()), checkpoint)


def fill_network(network: torch.nn.Module, weights: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Fill a network with weights, all of them or none.

    Args:
        network: Any module; its parameters and buffers are overwritten.
        weights: State dictionary.
        checkpoint: File that errors name.

    Raises:
        CheckpointError: The weights do not fit the network (a `MisfitError`), or are not finite; see `load_weights`.
    """
    expected = network.state_dict()
    misfits = misfits_of(weights, expected)
    problems = [found for what, names in misfits.items() for found in listed(what, names)]
    if problems:
        raise MisfitError(
            f"{checkpoint}: does not fit the network of the config ({'; '.join(problems)}); "
            "was it trained with another config?"
        )
    check_finite(weights, expected, checkpoint)
    network.load_state_dict(weights)


def misfits_of(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """What keeps weights from being those of a network, in words, to the entries that it is said of."""
    shared = sorted(expected.keys() & weights.keys())
    return {
        "missing": sorted(expected.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - expected.keys()),
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} where the network has {tuple(expected[name].shape)}"
            for name in shared
            if weights[name].shape != expected[name].shape
        ],
        "of another kind of number": [
            f"{name} {weights[name].dtype} where the network has {expected[name].dtype}"
            for name in shared
            if not is_same_kind(weights[name], expected[name])
        ],
    }


def check_finite(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Look at weights that fit, as the network will hold them: what single precision does not hold becomes infinite.

    Raises:
        CheckpointError: Some are not finite.
    """
    broken = [name for name in sorted(weights) if not weights[name].to(expected[name].dtype).isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{checkpoint}: {listed('not finite', broken)[0]}; training had diverged, take an earlier one"
        )


def read_checkpoint(checkpoint: Path, *, sha256: str | None = None) -> Any:  # noqa: ANN401
    """What a checkpoint holds: tensors, and plain Python around them.

    Args:
        checkpoint: As for `load_weights`. Of other classes a PyTorch file may hold those that
            ``torch.serialization.safe_globals`` names around the call.
        sha256: As for `load_weights`.

    Raises:
        CheckpointError: The file is missing, damaged, a whole network, holds other objects or one of them twice, or has
            another hash.
    """
    data = read_file(checkpoint, sha256)
    is_torchscript = any(name.endswith("/constants.pkl") for name in names_in_archive(data, checkpoint))
    if is_torchscript or checkpoint.suffix in (".pt2", ".onnx"):
        raise CheckpointError(f"{checkpoint}: is a whole network, to be given with --network")
    try:
        is_flat = checkpoint.suffix == ".safetensors"
        return load(data) if is_flat else torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch names what it did not load, amid advice to load it all the same.
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"got {named[1]}" if named else "or it is damaged or no checkpoint"
        raise CheckpointError(
            f"{checkpoint}: must hold tensors only, since other pickled objects can run code, {what}; "
            "save network.state_dict() instead"
        ) from error
    except (SafetensorError, *_OF_DAMAGED_PICKLES) as error:
        raise CheckpointError(f"{checkpoint}: is damaged or no checkpoint ({error})") from error


def read_weights(checkpoint: Path, entry: str | None = None, sha256: str | None = None) -> dict[str, Tensor]:
    """The state dictionary in a checkpoint; arguments and errors as of `load_weights`."""
    content = read_checkpoint(checkpoint, sha256=sha256)
    if entry is not None:
        if not isinstance(content, Mapping) or not isinstance(content.get(entry), Mapping):
            raise CheckpointError(f"{checkpoint}: holds no {entry}; was it trained with another config?")
        content = content[entry]
    return _state_dict(content, checkpoint)


def _state_dict(content: Any, checkpoint: Path) -> dict[str, Tensor]:  # noqa: ANN401
    while isinstance(content, Mapping):
        wrapped = [content[word] for word in WRAPPERS if isinstance(content.get(word), Mapping)]
        if not wrapped:
            break
        content = wrapped[0]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"{checkpoint}: must hold a state dictionary (name to tensor), alone or under one of {', '.join(WRAPPERS)}"
        )
    return dict(content)


def is_same_kind(one: Tensor, other: Tensor) -> bool:
    """Whether both hold real numbers, or both whole ones, and so on; quantised weights are whole."""
    return _kind(one) == _kind(other)


def _kind(weight: Tensor) -> str:
    if weight.dtype == torch.bool:
        return "truth"
    if weight.is_complex():
        return "complex"
    return "real" if weight.is_floating_point() else "whole"
