"""Decoders side by side: same input, a fresh process each, median time and extra peak memory.

    python benchmarks/decode.py [--volume VOLUME.npy] [--cases NAME ...] [--markdown]

VOLUME.npy holds a float32 probability volume (3 classes, X, Y, Z) such as a network's output for one CT; without it a
phantom of CT-like proportions (3 x 128 x 256 x 256) is made. Cases are derived from it: its middle 100 slices or all of
it; 2, 3 or 15 classes; float32 or float16; "dense", where no voxel is certain background; "flat", where nearly all
voxels share one probability. Ratios are to a warm ``clone`` of the same input, since machines differ. A method that
needs more memory than there is is named, not run.

Two more tables show the default decoder on small volumes, one thread, and on the whole volume with one thread of torch,
with two, and so on up to the cores there are: on free cores and, where there are cores to fight for, beside one process
that is always busy. They mean little on a machine that does something else.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rankseg import RankSEG as PublishedRankSEG
from rich.console import Console
from scipy import ndimage
from side_by_side import peak_bytes, print_table, start_peak
from torch import Tensor

from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder

# Per method: what it does to a batch (1, classes, X, Y, Z), and the memory it needs in bytes per input byte.
METHODS: dict[str, tuple[Callable[[Tensor], object], float]] = {
    "clone": (Tensor.clone, 1),
    "torch.argmax(dim=1)": (lambda p: p.argmax(1), 1),
    "max(dim=1)": (lambda p: p.max(1), 1.5),
    "rankseg": (lambda p: PublishedRankSEG(metric="dice").predict(p), 11),
    "rankseg, screened": (lambda p: PublishedRankSEG(metric="dice", safe_screening="auto").predict(p), 5),
    "ours: argmax": (lambda p: ArgmaxDecoder()(p[0]), 0.3),
    "ours: greedy, rma": (lambda p: RankSEGDecoder(solver="rma", assignment="greedy")(p[0]), 0.3),
    "ours: ascent, rma": (lambda p: RankSEGDecoder(solver="rma")(p[0]), 0.3),
    "ours: default (ascent, exact)": (lambda p: RankSEGDecoder()(p[0]), 0.3),
}
_ENOUGH_SECONDS = 3.0
SMALL = {"2 classes, 96 x 96 x 96": (2, 96, 96, 96), "3 classes, 112 x 112 x 80": (3, 112, 112, 80)} | {
    "2 classes, 40 x 50 x 36": (2, 40, 50, 36)
}


def two_classes(p: Tensor) -> Tensor:
    """Background and all foreground."""
    return torch.stack([p[0], p[1] + p[2]])


def fifteen_classes(p: Tensor) -> Tensor:
    """The organ cut into 13 classes along the first axis, as neighbouring organs are."""
    classes = p.new_zeros((15, *p.shape[1:]))
    classes[0], classes[14] = p[0], p[2]
    for label, section in enumerate(torch.arange(p.shape[1]).tensor_split(13), start=1):
        classes[label, section] = p[1, section]
    return classes


def tempered(p: Tensor, temperature: float) -> Tensor:
    """Probabilities at a temperature: at 3 no voxel is certain background, at 8 nearly all share one probability."""
    return torch.softmax(p.clamp_min(1e-7).log_().div_(temperature), 0)


def middle(p: Tensor) -> Tensor:
    """The middle 100 slices along the first axis."""
    first = max(0, p.shape[1] // 2 - 50)
    return p[:, first : first + 100]


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "100 slices, 2 classes, float32": lambda p: two_classes(middle(p)),
    "100 slices, 3 classes, float32": lambda p: middle(p).clone(),
    "100 slices, 3 classes, float16": lambda p: middle(p).half(),
    "100 slices, 15 classes, float32": lambda p: fifteen_classes(middle(p)),
    "100 slices, 3 classes, float32, dense": lambda p: tempered(middle(p), 3),
    "100 slices, 3 classes, float32, flat": lambda p: tempered(middle(p), 8),
    "full size, 2 classes, float32": two_classes,
    "full size, 3 classes, float32": Tensor.clone,
    "full size, 3 classes, float16": Tensor.half,
    "full size, 15 classes, float16": lambda p: fifteen_classes(p.half()),
    "full size, 3 classes, float32, dense": lambda p: tempered(p, 3),
    "full size, 3 classes, float32, flat": lambda p: tempered(p, 8),
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


def measure(case: str, method: str, volume: Path) -> tuple[float, int, int]:
    """Median seconds, extra peak bytes and input bytes of one method; meant for a fresh process."""
    probabilities = CASES[case](torch.from_numpy(np.load(volume, mmap_mode="c")))[None]
    run, _ = METHODS[method]
    before = start_peak()
    return median_seconds(lambda: run(probabilities)), peak_bytes() - before, probabilities.nbytes


def median_seconds(run: Callable[[], object]) -> float:
    """Median seconds of some rounds; the first warms up, unless one round is long enough to drown that."""
    seconds: list[float] = []
    while len(seconds) < 6 and (not seconds or sum(seconds) < _ENOUGH_SECONDS * 3):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:] or seconds)


def measure_small(name: str, volume: Path) -> tuple[float, float]:
    """Median seconds of the default decoder and of ``clone``, on a patch around the tumour; for a fresh process."""
    torch.set_num_threads(1)
    probabilities = torch.from_numpy(np.load(volume, mmap_mode="c"))
    classes, *shape = SMALL[name]
    centre = np.unravel_index(int(probabilities[2].argmax()), probabilities.shape[1:])
    starts = [
        max(0, min(int(c) - n // 2, whole - n))
        for c, n, whole in zip(centre, shape, probabilities.shape[1:], strict=True)
    ]
    patch = probabilities[(slice(None), *(slice(a, a + n) for a, n in zip(starts, shape, strict=True)))]
    patch = two_classes(patch) if classes == 2 else patch.clone()
    return median_seconds(lambda: RankSEGDecoder()(patch)), median_seconds(patch.clone)


def measure_threads(threads: int, volume: Path) -> float:
    """Median seconds of the default decoder with so many threads of torch; for a fresh process."""
    torch.set_num_threads(threads)
    probabilities = torch.from_numpy(np.load(volume, mmap_mode="c"))
    return median_seconds(lambda: RankSEGDecoder()(probabilities))


def stay_busy() -> None:
    """What a neighbour does."""
    while True:
        pass


def available_bytes() -> int:
    """Memory that Linux says a new process could have."""
    (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def input_bytes(case: str, voxels: int) -> float:
    """Size of a case's input, roughly, before it is made."""
    classes = next(n for n in (15, 2, 3) if f" {n} classes" in case)
    return voxels * classes * (2 if "float16" in case else 4)


def main() -> None:
    """Run every method on every case and print a table a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volume", type=Path)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        volume = arguments.volume or Path(folder) / "volume.npy"
        if arguments.volume is None:
            make_volume(volume)
        shape = np.load(volume, mmap_mode="r").shape
        console.print(f"{volume.name} {shape}; torch {torch.__version__}, {torch.get_num_threads()} threads")
        for case in arguments.cases:
            slices = min(100, shape[1]) if "100 slices" in case else shape[1]
            show(console, case, volume, slices * shape[2] * shape[3], markdown=arguments.markdown)
        show_small(console, volume, markdown=arguments.markdown)
        show_threads(console, volume, markdown=arguments.markdown)


def show_small(console: Console, volume: Path, *, markdown: bool) -> None:
    """Measure small volumes and print their table."""
    rows = []
    for name in SMALL:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            seconds, clone = fresh.apply(measure_small, (name, volume))
        rows.append((name, f"{seconds * 1e3:.1f}", f"{clone * 1e3:.2f}"))
    print_table(console, "small, one thread", ("volume", "milliseconds", "of a clone"), rows, markdown=markdown)


def show_threads(console: Console, volume: Path, *, markdown: bool) -> None:
    """Measure the whole volume with more and more threads, with and without a neighbour, and print the table."""
    context, rows, one = multiprocessing.get_context("spawn"), [], float("nan")
    for threads in range(1, len(os.sched_getaffinity(0)) + 1):
        seconds = []
        for neighbours in (0, 1):
            busy = [context.Process(target=stay_busy, daemon=True) for _ in range(neighbours)]
            for neighbour in busy:
                neighbour.start()
            with context.Pool(1) as fresh:
                seconds.append(fresh.apply(measure_threads, (threads, volume)))
            for neighbour in busy:
                neighbour.terminate()
                neighbour.join()
        one = seconds[0] if threads == 1 else one
        rows.append((str(threads), *(text for s in seconds for text in (f"{s:.3f}", f"{s / one:.2f}"))))
    columns = ("threads", "seconds", "x one thread", "beside a busy process", "x one thread")
    print_table(console, "whole volume, default decoder", columns, rows, markdown=markdown)


def show(console: Console, case: str, volume: Path, voxels: int, *, markdown: bool) -> None:
    """Measure one case and print its table."""
    columns = ("method", "seconds", "x clone", "extra peak bytes per input byte")
    rows, clone = [], float("nan")
    for method, (_, memory) in METHODS.items():
        needed = input_bytes(case, voxels) * (1 + memory)
        if needed > 0.97 * available_bytes():
            rows.append((method, f"needs about {needed / 1e9:.0f} GB", "", ""))
            continue
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            seconds, extra, size = fresh.apply(measure, (case, method, volume))
        clone = seconds if method == "clone" else clone
        rows.append((method, f"{seconds:.3f}", f"{seconds / clone:.2f}", f"{extra / size:.2f}"))
    print_table(console, case, columns, rows, markdown=markdown)


if __name__ == "__main__":
    main()
