"""A tiny network, written to every format that is read."""

import warnings
from pathlib import Path

import pytest
import torch
from monai.networks.nets import UNet

FORMATS = ("script.pt", "trace.pt", "program.pt2", "graph.onnx")


def tiny_unet(spatial_dims: int = 3, in_channels: int = 1, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return UNet(spatial_dims, in_channels, 3, (4, 8), (2,), num_res_units=1, norm="INSTANCE").eval()


def write(network: torch.nn.Module, path: Path, windows: torch.Tensor, *, any_batch: bool = True) -> Path:
    """Write a network that takes windows of this shape, in the format that the name says."""
    dynamic = ({0: torch.export.Dim("batch")},) if any_batch else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.name.startswith("script"):
            torch.jit.script(network).save(path)
        elif path.suffix == ".pt":
            torch.jit.trace(network, windows).save(path)
        elif path.suffix == ".pt2":
            torch.export.save(torch.export.export(network, (windows,), dynamic_shapes=dynamic), path)
        else:
            pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra onnx)")
            pytest.importorskip("onnxscript", reason="onnxscript, which writes ONNX, is not installed")
            torch.onnx.export(
                network, (windows,), path, dynamic_shapes=dynamic, external_data=False, verbose=False, dynamo=True
            )
    return path


def skip_without(name: str) -> None:
    """Skip what needs onnxruntime where it is missing."""
    if name.endswith(".onnx"):
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra onnx)")
