"""Decoders side by side: the same probability volume, a fresh process each, median time and extra peak memory.

    python benchmarks/decode.py [--volume VOLUME.npy] [--repeats 3]

VOLUME.npy holds a float32 probability volume (classes, X, Y, Z); without it a blurred phantom of CT-like proportions
(3 x 128 x 256 x 256) is made. Ratios are to ``torch.clone`` of the volume, since machines differ.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rankseg import RankSEG as PublishedRankSEG
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from torch import Tensor

from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder

METHODS: dict[str, Callable[[Tensor], object]] = {
    "clone": Tensor.clone,
    "torch.argmax": lambda p: p.argmax(0),
    "ours: argmax": ArgmaxDecoder(),
    "rankseg 0.0.8": lambda p: PublishedRankSEG(metric="dice").predict(p[None]),
    "rankseg 0.0.8, screened": lambda p: PublishedRankSEG(metric="dice", safe_screening="auto").predict(p[None]),
    "ours: dice, rma": RankSEGDecoder("dice", solver="rma"),
    "ours: dice, exact": RankSEGDecoder("dice", solver="exact"),
    "ours: iou, exact": RankSEGDecoder("iou", solver="exact"),
}


def make_volume(path: Path) -> None:
    """An organ with a tumour and uncertain borders."""
    shape = (128, 256, 256)
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[-1:1:128j, -1:1:256j, -1:1:256j]
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 4)
    noise *= 8 / noise.std()
    organ = 100 * (0.5 - np.sqrt(z**2 + (y - 0.2) ** 2 + x**2)) + noise
    tumour = 100 * (0.15 - np.sqrt(z**2 + (y - 0.3) ** 2 + (x - 0.1) ** 2)) + noise
    logits = np.stack([np.zeros(shape), organ, tumour + np.minimum(organ, 0)]).astype(np.float32) * 0.5
    np.save(path, torch.softmax(torch.from_numpy(logits), 0).numpy())


def measure(name: str, volume: Path, repeats: int) -> tuple[float, int]:
    """Median seconds and extra peak bytes of one method; meant for a fresh process."""
    probabilities = torch.from_numpy(np.load(volume))
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        METHODS[name](probabilities)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), resident_bytes("VmHWM") - before


def resident_bytes(which: str) -> int:
    """Resident memory of this process from Linux: now (VmRSS) or at its peak (VmHWM)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Run every method and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volume", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        volume = arguments.volume
        if volume is None:
            volume = Path(folder) / "volume.npy"
            make_volume(volume)
        array = np.load(volume, mmap_mode="r")
        results = {}
        for name in METHODS:
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                results[name] = fresh.apply(measure, (name, volume, arguments.repeats))
    table = Table(
        "method", "seconds", "x clone", "extra peak MB", "bytes per input byte", title=f"{array.shape} float32"
    )
    for name, (seconds, extra) in results.items():
        ratio = seconds / results["clone"][0]
        table.add_row(name, f"{seconds:.3f}", f"{ratio:.1f}", f"{extra / 1e6:.0f}", f"{extra / array.nbytes:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
