"""Whole networks in files: TorchScript, ``torch.export`` programs, ONNX, folders of transformers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.networks.errors import CheckpointError
from rankseg_med.networks.files import check_unchanged, listed, names_in_archive, network_sha256, read_file
from rankseg_med.networks.labels import Labels, relabelled
from rankseg_med.networks.pt2 import load_program
from rankseg_med.networks.transformers import SemanticSegmentation

_log = logging.getLogger(__name__)
_ONNX_TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}


@dataclass(frozen=True)
class _Program:
    """What was read.

    Attributes:
        run: Windows to whatever it returns.
        takes: Shape of its input, batch and channels included; None where any size is taken, or it is not known.
        dtype: Kind of numbers of its input.
    """

    run: Callable[[Tensor], object]
    takes: tuple[int | None, ...] | None = None
    dtype: torch.dtype = torch.float32


class NetworkFile(torch.nn.Module):
    """A network that a file, or a folder of transformers, holds as a whole.

    It runs on the device that the module was moved to before it reads.

    Files are recognised by their content:

    - TorchScript (``torch.jit.save``). Such an archive is a program of TorchScript's own interpreter, which can also
      write files; its pickles are read by that interpreter, which makes none of Python's objects. Run those of people
      that you trust.
    - ``torch.export.save`` (``.pt2``), without anything pickled; see `rankseg_med.networks.pt2`.
    - ONNX (``.onnx``), which is data; needs the extra ``onnx``.
    - A folder that ``save_pretrained`` of transformers wrote; see `SemanticSegmentation`.

    A program of a fixed batch gets batches that are filled up with zeros.

    Args:
        labels: The network's labels that make each class; by default those of the config, in their order.
        inputs: Further inputs of a network of transformers, see `SemanticSegmentation`.
    """

    def __init__(self, labels: Labels | None = None, inputs: Mapping[str, Sequence[Any]] | None = None) -> None:
        super().__init__()
        self.inputs = inputs
        self.register_buffer("_place", torch.empty(0), persistent=False)
        self.labels = labels
        self._place: Tensor
        self._path = Path()
        self._program: _Program | None = None

    def read(self, path: Path, *, sha256: str | None = None) -> None:
        """Take the network of a file.

        Args:
            path: File, or folder of transformers.
            sha256: Hash that it must have, see `network_sha256`; by default any.

        Raises:
            CheckpointError: It is missing, damaged, no such network, holds weights that are not finite (ONNX's are not
                looked at), or has another hash; or the library that runs it is not installed.
        """
        self._path, device = path, self._place.device
        if path.is_dir():
            if sha256 is not None:
                check_unchanged(path, sha256, network_sha256(path))
            self._program = _Program(SemanticSegmentation.from_folder(path, self.inputs).to(device).eval())
            return
        if self.inputs:
            raise CheckpointError(f"{path}: inputs are for a folder of transformers; a program takes windows alone")
        data = read_file(path, sha256)
        names = {name.partition("/")[2] for name in names_in_archive(data, path)}
        if path.suffix == ".onnx":
            self._program = _onnx(data, path, device)
        elif path.suffix == ".pt2" or "archive_format" in names:
            self._program = _pt2(data, path, device)
        elif "constants.pkl" in names:
            self._program = _torchscript(data, path, device)
        else:
            what = "weights alone, to be given with --checkpoint" if "data.pkl" in names else "something else"
            raise CheckpointError(
                f"{path}: must be a whole network (TorchScript, torch.export.save's .pt2, .onnx, or a folder of "
                f"transformers), got {what}"
            )

    def forward(self, windows: Float[Tensor, "batch channels *window"]) -> object:
        """Whatever the network returns, for any number of windows.

        Raises:
            CheckpointError: The network does not take windows of this shape.
        """
        if self._program is None:
            raise RuntimeError("a NetworkFile must read a file before it runs")
        program = self._program
        self._check_shape(program.takes, windows)
        size = (program.takes or (None,))[0] or len(windows)
        try:
            batches = torch.split(windows.to(program.dtype), size)
            output = _joined(*[_first(len(batch), program.run(_filled(batch, size))) for batch in batches])
        except (torch.OutOfMemoryError, CheckpointError):
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise CheckpointError(
                f"{self._path}: does not take windows {tuple(windows.shape)}: {reason[0]}; set roi_size and the number "
                "of channels to what it was exported for, or export it with dynamic sizes"
            ) from error
        if self.labels is None:
            return output
        if not isinstance(output, Tensor):
            raise CheckpointError(f"{self._path}: labels need a network that returns one tensor, got {type(output)}")
        return relabelled(output, self.labels)

    def _check_shape(self, takes: Sequence[int | None] | None, windows: Tensor) -> None:
        if takes is None:
            return
        fits = [wanted in (None, found) for wanted, found in zip(takes, windows.shape, strict=False)]
        if len(takes) != windows.ndim or not all(fits[1:]):
            shape = ", ".join("any" if size is None else str(size) for size in takes)
            raise CheckpointError(
                f"{self._path}: takes windows ({shape}) (batch, channels, window), got {tuple(windows.shape)}; set "
                "roi_size (and neighbours, for a 2-D network) accordingly, or export it with dynamic sizes"
            )


def _torchscript(data: bytes, path: Path, device: torch.device) -> _Program:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it is read as long as PyTorch reads it
            module = torch.jit.load(BytesIO(data), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: is damaged, or no TorchScript ({error})") from error
    weights = module.state_dict()
    _check_finite(weights, path)
    kinds = [weight.dtype for weight in weights.values() if weight.is_floating_point()]
    return _Program(module.eval(), dtype=kinds[0] if kinds else torch.float32)


def _pt2(data: bytes, path: Path, device: torch.device) -> _Program:
    from torch.export.passes import move_to_device_pass

    program = load_program(data, path)
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    if len(inputs) != 1:
        raise CheckpointError(f"{path}: must take one input, a batch of windows; got {len(inputs)}")
    _check_finite(program.state_dict, path)
    module = move_to_device_pass(program, device).module()
    taken: Tensor = inputs[0].meta["val"]
    return _Program(module.forward, tuple(size if type(size) is int else None for size in taken.shape), taken.dtype)


def _onnx(data: bytes, path: Path, device: torch.device) -> _Program:
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(
            f"{path}: ONNX needs onnxruntime, which is not installed: pip install 'rankseg_med[onnx]'"
        ) from error
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    elif device.type != "cpu":
        _log.warning("%s: onnxruntime has nothing for %s here; it runs on the CPU", path, device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:
        raise CheckpointError(
            f"{path}: is damaged or no ONNX that onnxruntime {onnxruntime.__version__} runs; weights must be in the "
            f"same file, as torch.onnx.export(..., external_data=False) writes them ({error})"
        ) from error
    if len(session.get_inputs()) != 1 or session.get_inputs()[0].type not in _ONNX_TYPES:
        found = ", ".join(f"{one.name} {one.type}" for one in session.get_inputs())
        raise CheckpointError(f"{path}: must take one input, a batch of windows; got {found}")
    (taken,) = session.get_inputs()

    def run(windows: Tensor) -> object:
        outputs = session.run(None, {taken.name: windows.cpu().numpy()})
        tensors = [torch.from_numpy(output).to(windows.device) for output in outputs]
        return tensors[0] if len(tensors) == 1 else tensors

    takes = tuple(size if isinstance(size, int) else None for size in taken.shape)
    return _Program(run, takes or None, _ONNX_TYPES[taken.type])


def _check_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    if broken := listed("not finite", [name for name, weight in weights.items() if not weight.isfinite().all()]):
        raise CheckpointError(f"{path}: {broken[0]}; training had diverged, export an earlier state")


def _filled(windows: Tensor, size: int) -> Tensor:
    missing = size - len(windows)
    return windows if not missing else torch.cat([windows, windows.new_zeros(missing, *windows.shape[1:])])


def _first(size: int, output: Any) -> Any:  # noqa: ANN401 - whatever a network returns
    """What an output says of the first windows of a batch."""
    if isinstance(output, Mapping):
        return {key: _first(size, value) for key, value in output.items()}
    if isinstance(output, list | tuple):
        return [_first(size, value) for value in output]
    return output[:size] if isinstance(output, Tensor) else output


def _joined(*outputs: Any) -> Any:  # noqa: ANN401 - whatever a network returns
    """Outputs of several batches as that of one."""
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if isinstance(first, Mapping):
        return {key: _joined(*(output[key] for output in outputs)) for key in first}
    if isinstance(first, list | tuple):
        return [_joined(*parts) for parts in zip(*outputs, strict=True)]
    return torch.cat(outputs) if isinstance(first, Tensor) else first
