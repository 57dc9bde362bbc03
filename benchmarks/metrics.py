"""Surface distances and largest components side by side: same masks, a fresh process each, median time, peak memory.

    python benchmarks/metrics.py [LABELS.nii.gz] [--tasks TASK ...] [--without METHOD ...] [--markdown]

LABELS.nii.gz is a label map such as KiTS19's, whose foreground (all labels) is the reference; without it a phantom of
two kidneys (192 x 256 x 256) is made. The prediction is its copy, eroded by a voxel and shifted by 3, -4 and 5 voxels.
"Surface distances" are the Hausdorff distance, its 95th percentile and the average symmetric surface distance, in mm.
Memory is the peak while a method runs, less what the process held before, inputs included. MedPy does not crop;
"cropped" is what a user can do for it by hand. Its HD95 is another one, see rankseg_med/metrics/surface.py, and so is
left out of the check that the values agree. On a whole CT MedPy takes minutes and 9 GB.
"""

import argparse
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import nibabel as nib
import numpy as np
import torch
from medpy.metric import binary as medpy
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from monai.transforms import KeepLargestConnectedComponent
from rich.console import Console
from scipy import ndimage
from side_by_side import peak_bytes, print_table, start_peak

from rankseg_med.cleanup import keep_largest_component
from rankseg_med.masks import bounding_box
from rankseg_med.metrics import surface_distances

Masks: TypeAlias = np.ndarray
"""Prediction and reference, `(2, X, Y, Z)` boolean."""
Values: TypeAlias = dict[str, float]

_ENOUGH_SECONDS = 10.0
_SHIFT = (3, -4, 5)


def distances_of_ours(masks: Masks, spacing_mm: list[float]) -> Values:
    """One measurement, three reductions."""
    distances = surface_distances(masks[0], masks[1], spacing_mm)
    return {
        "HD": distances.hausdorff_mm(),
        "HD95": distances.hausdorff_percentile_mm(95),
        "ASSD": distances.assd_mm(),
    }


def distances_of_monai(masks: Masks, spacing_mm: list[float]) -> Values:
    """Three functions, each of which measures anew."""
    batch = [torch.from_numpy(mask)[None, None] for mask in masks]
    options = {"include_background": True, "spacing": spacing_mm}
    return {
        "HD": compute_hausdorff_distance(*batch, **options).item(),
        "HD95": compute_hausdorff_distance(*batch, percentile=95, **options).item(),
        "ASSD": compute_average_surface_distance(*batch, symmetric=True, **options).item(),
    }


def distances_of_medpy(masks: Masks, spacing_mm: list[float]) -> Values:
    """Three functions, each of which measures anew; HD95 is pooled."""
    return {
        "HD": medpy.hd(*masks, spacing_mm),
        "HD95 of MedPy": medpy.hd95(*masks, spacing_mm),
        "ASSD": medpy.assd(*masks, spacing_mm),
    }


def distances_of_medpy_cropped(masks: Masks, spacing_mm: list[float]) -> Values:
    """MedPy on the bounding box of the two masks."""
    return distances_of_medpy(masks[:, *bounding_box(*masks)], spacing_mm)


def component_of_ours(masks: Masks, spacing_mm: list[float]) -> Values:
    """The largest component of the reference, 26-connected."""
    return fingerprint(keep_largest_component(masks[1].view(np.uint8)))


def component_of_monai(masks: Masks, spacing_mm: list[float]) -> Values:
    """The largest component of the reference, 26-connected; changes the masks."""
    cleaned = KeepLargestConnectedComponent(applied_labels=[1])(masks[1:].view(np.uint8))
    return fingerprint(np.asarray(cleaned)[0])


def fingerprint(mask: np.ndarray) -> Values:
    """Enough to tell whether two masks are the same component."""
    box = bounding_box(mask)
    return {"voxels": float(np.count_nonzero(mask)), "corner": float(sum(side.start for side in box))}


Method: TypeAlias = Callable[[Masks, list[float]], Values]
TASKS: dict[str, dict[str, Method]] = {
    "surface distances": {
        "ours": distances_of_ours,
        "MONAI": distances_of_monai,
        "MedPy": distances_of_medpy,
        "MedPy, cropped": distances_of_medpy_cropped,
    },
    "largest component": {"ours": component_of_ours, "MONAI": component_of_monai},
}


def make_labels(path: Path) -> None:
    """Two uneven ellipsoids in an abdomen, 1 mm along the first axis and 1.5 mm along the others."""
    shape = (192, 256, 256)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(shape, dtype=np.float32), 4)
    noise *= 0.1 / noise.std()
    x, y, z = np.ogrid[-96:96, -192:192:1.5, -192:192:1.5]
    kidneys = np.zeros(shape, dtype=np.uint8)
    for side in (-1, 1):
        distance = np.sqrt((x / 55) ** 2 + ((y - 40) / 30) ** 2 + ((z - 70 * side) / 28) ** 2)
        kidneys[distance + noise < 1] = 1
    nib.save(nib.Nifti1Image(kidneys, np.diag([1.0, 1.5, 1.5, 1.0])), path)


def make_masks(labels: Path) -> tuple[Masks, list[float]]:
    """Prediction and reference, and their spacing in mm."""
    image = nib.load(labels)
    reference = np.ascontiguousarray(np.asanyarray(image.dataobj) > 0)
    if not reference.any():
        raise SystemExit(f"{labels} has no foreground to measure.")
    prediction = np.zeros_like(reference)
    box = bounding_box(reference)
    prediction[box] = ndimage.binary_erosion(reference[box])
    return np.stack([np.roll(prediction, _SHIFT, (0, 1, 2)), reference]), [float(mm) for mm in image.header.get_zooms()]


def measure(task: str, method: str, masks_file: Path, spacing_mm: list[float]) -> tuple[float, int, Values]:
    """Median seconds, extra peak bytes and values of one method; meant for a fresh process."""
    seconds: list[float] = []
    extra_bytes = 0
    # The first round warms up, unless one round is long enough to drown that.
    while len(seconds) < 6 and (not seconds or sum(seconds) < _ENOUGH_SECONDS):
        masks = np.load(masks_file)  # anew, since a method may change it
        before = start_peak()
        start = time.perf_counter()
        values = TASKS[task][method](masks, spacing_mm)
        seconds.append(time.perf_counter() - start)
        extra_bytes = max(extra_bytes, peak_bytes() - before)
    return statistics.median(seconds[1:] or seconds), extra_bytes, values


def disagreement(values: Values, ours: Values) -> float:
    """The largest relative difference of the values that both give."""
    return max(abs(values[name] - ours[name]) / max(abs(ours[name]), 1e-9) for name in values.keys() & ours.keys())


def main() -> None:
    """Run every method of every task and print a table a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, nargs="?")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--without", nargs="+", choices=["MONAI", "MedPy", "MedPy, cropped"], default=[])
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as folder:
        labels, masks_file = arguments.labels, Path(folder) / "masks.npy"
        if labels is None:
            labels = Path(folder) / "phantom.nii.gz"
            make_labels(labels)
        masks, spacing_mm = make_masks(labels)
        np.save(masks_file, masks)
        box = masks[:, *bounding_box(*masks)]
        console.print(f"{labels.name} {masks.shape[1:]}, box of the masks {box.shape[1:]}, spacing {spacing_mm} mm")
        del masks, box
        for task in arguments.tasks:
            methods = [method for method in TASKS[task] if method not in arguments.without]
            show(console, task, methods, masks_file, spacing_mm, markdown=arguments.markdown)


def show(
    console: Console, task: str, methods: list[str], masks_file: Path, spacing_mm: list[float], *, markdown: bool
) -> None:
    """Measure the methods of one task, ours first, and print their table."""
    columns = ("method", "seconds", "x ours", "extra peak MB", "x ours", "values", "off from ours")
    rows: list[tuple[str, ...]] = []
    first: tuple[float, int, Values] | None = None
    for method in methods:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            seconds, extra, values = fresh.apply(measure, (task, method, masks_file, spacing_mm))
        first = first or (seconds, extra, values)
        off = disagreement(values, first[2])
        if not math.isclose(off, 0, abs_tol=1e-5):
            console.print(f"[red]{method} does not agree with ours: {values} against {first[2]}")
        shown = ", ".join(f"{name} {value:.5g}" for name, value in values.items())
        times = (f"{seconds:.3f}", f"{seconds / first[0]:.1f}", f"{extra / 1e6:.0f}", f"{extra / first[1]:.1f}")
        rows.append((method, *times, shown, f"{off:.0e}"))
    print_table(console, task, columns, rows, markdown=markdown)


if __name__ == "__main__":
    main()
