"""Whole studies from file to file: peak memory and the time spent outside the network, beside MONAI's chain.

    python benchmarks/memory.py [--sizes 256x256x300 ...] [--methods ...] [--markdown]

A CT-like phantom of each size is written as int16 NIfTI, 0.8 x 0.8 x 1.25 mm, and predicted with 3 classes on a 1 x 1 x
1.5 mm grid, in a fresh process per method. Bytes a voxel: peak resident memory above what imports, network and weights
take, by the voxels of the file. "outside the network" is wall time less the time within the network's forward. MONAI's
chain is the usual one: Orientationd, Spacingd, sliding windows, Activationsd, Invertd, AsDiscreted,
KeepLargestConnectedComponentd, SaveImaged. The network is small, so that the rest shows; ``--network-seconds`` measures
what a window of an nnU-Net-sized one takes on this machine.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import DynUNet, UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    KeepLargestConnectedComponentd,
    LoadImaged,
    Orientationd,
    SaveImaged,
    ScaleIntensityRanged,
    Spacingd,
)
from rich.console import Console
from side_by_side import peak_bytes, print_table, start_peak

from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder
from rankseg_med.executors import run_overlapped
from rankseg_med.inference import SegmentationModel, StreamingInferer
from rankseg_med.studies import Study
from rankseg_med.transforms import AxisSpacingd, KeepLargestComponent, LoadStudyd
from rankseg_med.workflows import LabelMaps, Prediction

CLASSES = 3
SPACING_MM = (0.8, 0.8, 1.25)
MODEL_SPACING_MM = (1.0, 1.0, 1.5)
ROI = (96, 96, 96)


class TimedNetwork(torch.nn.Module):
    """A small UNet that knows how long it took, and calls dense voxels organ and denser ones tumour."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = UNet(3, 1, CLASSES, (4, 8), (2,), norm="INSTANCE").eval()
        self.seconds = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        start = time.perf_counter()
        logits: torch.Tensor = 0.01 * self.network(x)
        logits[:, 1] += 120 * (x[:, 0] - 0.59)
        logits[:, 2] += 240 * (x[:, 0] - 0.66)
        self.seconds += time.perf_counter() - start
        return logits


def write_phantom(path: Path, shape: tuple[int, ...]) -> None:
    """Air, a body with an organ and a tumour, and noise; slice by slice, stored LPS."""
    rng = np.random.default_rng(0)
    first, second, third = (np.linspace(-1, 1, size) for size in shape)
    volume = np.full(shape, -1000, np.int16)
    for place, voxels in zip(first, volume, strict=True):
        squared = place**2 + second[:, None] ** 2 + third**2
        for limit, intensity in ((0.9, 40), (0.2, 110), (0.02, 160)):
            voxels[squared < limit] = intensity
        voxels += rng.normal(0, 8, voxels.shape).astype(np.int16)
    affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
    nib.save(nib.Nifti1Image(volume, affine), path)


INTENSITY = ScaleIntensityRanged("image", a_min=-160, a_max=240, b_min=0, b_max=1, clip=True)


def ours(image: Path, output: Path, network: TimedNetwork, **options: object) -> Callable[[], None]:
    """The steps of `rankseg-med predict`."""
    preprocessing = Compose(
        [
            LoadStudyd("image"),
            Orientationd("image", "RAS", labels=None),
            AxisSpacingd("image", MODEL_SPACING_MM),
            INTENSITY,
        ]
    )
    settings: dict[str, Any] = {"decoder": RankSEGDecoder(), **options}
    inferer = StreamingInferer(ROI, 2, 0.5, "gaussian")
    model = SegmentationModel(preprocessing, [network], inferer, CLASSES, **settings)
    prediction = Prediction(model, LabelMaps(output, KeepLargestComponent([[1, 2]])))

    def run() -> None:
        (outcome,) = run_overlapped((prediction.load, prediction.predict, prediction.write), [Study("case", image)])
        if outcome.error is not None:
            raise outcome.error

    return run


def monai(image: Path, output: Path, network: TimedNetwork, dtype: torch.dtype) -> Callable[[], None]:
    """The chain that MONAI's tutorials and bundles have."""
    preprocessing = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", MODEL_SPACING_MM, mode="bilinear", padding_mode="border", dtype=dtype),
            INTENSITY,
        ]
    )
    postprocessing = Compose(
        [
            Activationsd("pred", softmax=True),
            Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False),
            AsDiscreted("pred", argmax=True),
            KeepLargestConnectedComponentd("pred", applied_labels=[1, 2], independent=False),
            SaveImaged("pred", output_dir=output, output_dtype=np.uint8, separate_folder=False, print_log=False),
        ]
    )
    inferer = SlidingWindowInferer(ROI, 2, 0.5, "gaussian")

    def run() -> None:
        data = preprocessing({"image": image})
        with torch.no_grad():
            logits = inferer(data["image"][None].float(), network)[0]
        data["pred"] = MetaTensor(logits, meta=data["image"].meta)
        postprocessing(data)

    return run


METHODS: dict[str, Callable[[Path, Path, TimedNetwork], Callable[[], None]]] = {
    "MONAI's chain": lambda i, o, n: monai(i, o, n, torch.float64),
    "MONAI's chain, float32": lambda i, o, n: monai(i, o, n, torch.float32),
    "ours": ours,
    "ours, store: disk": lambda i, o, n: ours(i, o, n, store="disk"),
    "ours, grid: model": lambda i, o, n: ours(i, o, n, grid="model"),
    "ours, argmax": lambda i, o, n: ours(i, o, n, decoder=ArgmaxDecoder()),
}


def measure(method: str, image: Path) -> tuple[int, float, float]:
    """Extra peak bytes, wall seconds and seconds within the network; meant for a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        network = TimedNetwork()
        run = METHODS[method](image, Path(folder), network)
        before = start_peak()
        start = time.perf_counter()
        run()
        wall = time.perf_counter() - start
    return peak_bytes() - before, wall, network.seconds


def network_seconds() -> float:
    """A window through an nnU-Net-sized network, by 96 x 96 x 96 voxels, on this machine; the faster of two."""
    kernels, strides = [[3, 3, 3]] * 6, [[1, 1, 1], *[[2, 2, 2]] * 5]
    network = DynUNet(3, 1, CLASSES, kernels, strides, strides[1:], filters=[32, 64, 128, 256, 320, 320]).eval()
    window = torch.zeros(1, 1, *ROI)
    seconds = []
    with torch.no_grad():
        for _ in range(2):
            start = time.perf_counter()
            network(window)
            seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Measure every method on every size and print a table a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["256x256x300", "512x512x300", "512x512x600"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--network-seconds", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    console = Console(width=120)
    console.print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if arguments.network_seconds:
        console.print(f"{network_seconds():.2f} s a window of {ROI} through an nnU-Net-sized network")
    columns = ("method", "bytes a voxel", "peak GB", "seconds", "outside the network")
    for size in arguments.sizes:
        shape = tuple(map(int, size.split("x")))
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "image.nii.gz"
            write_phantom(image, shape)
            rows = []
            for method in arguments.methods:
                with multiprocessing.get_context("spawn").Pool(1) as fresh:
                    extra, wall, within = fresh.apply(measure, (method, image))
                per_voxel, outside = extra / np.prod(shape), wall - within
                rows.append((method, f"{per_voxel:.1f}", f"{extra / 1e9:.2f}", f"{wall:.1f}", f"{outside:.1f}"))
        print_table(console, size, columns, rows, markdown=arguments.markdown)


if __name__ == "__main__":
    main()
