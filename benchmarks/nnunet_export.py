"""From logits to a label map on the image's grid: nnU-Net's export beside ours, a fresh process each.

    python benchmarks/nnunet_export.py [--logits 150x400x400] [--image 300x512x512] [--rounds 3] [--methods NAME ...]

The same float16 logits (3 channels), as networks of nnU-Net leave them, are carried to an image of the other shape. CPU
seconds are the median of some rounds, extra peak memory is that of the first above imports and logits. What nnU-Net
stores with ``--save_probabilities`` is compressed and written to a temporary folder; to decode for another metric ours
needs no such file. Ratios are those of nnU-Net's labels, by the same resampling, to each. One thread; needs the extra
``nnunet``.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from side_by_side import peak_bytes, print_table, start_peak

from rankseg_med.decode import ArgmaxDecoder, Decoder, RankSEGDecoder
from rankseg_med.nnunet import Export, Exporter, Library, Placement, Plans, axis_of

CHANNELS = 3
BY_SKIMAGE = ("resample_data_or_seg_to_shape", {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None})
BY_TORCH = ("resample_torch_fornnunet", {"is_seg": False, "force_separate_z": None})
# Resampling of the plans, and the spacing of the networks' grid; only the second lies far apart in Z.
VARIANTS: dict[str, tuple[tuple[str, dict[str, Any]], tuple[float, float, float]]] = {
    "default": (BY_SKIMAGE, (2.0, 1.0, 1.0)),
    "default, separate z": (BY_SKIMAGE, (5.0, 1.0, 1.0)),
    "torch": (BY_TORCH, (2.0, 1.0, 1.0)),
    "torch, separate z": (BY_TORCH, (5.0, 1.0, 1.0)),
}
Run = Callable[[np.ndarray], object]


def write_model(folder: Path, variant: str) -> Plans:
    """The part of a model that exports."""
    (function, options), spacing = VARIANTS[variant]
    own = {
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": [64, 128, 128],
        "spacing": spacing,
        "normalization_schemes": ["CTNormalization"],
        **{f"resampling_fn_{what}": function for what in ("data", "seg", "probabilities")},
        "resampling_fn_probabilities_kwargs": options,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {},
            "_kw_requires_import": [],
        },
    }
    plans = {
        "configurations": {"3d_fullres": own},
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
    }
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1, "tumour": 2}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps({**dataset, "file_ending": ".nii.gz"}))
    return Plans.read(folder, "3d_fullres")


def image_spacing(variant: str, logits: tuple[int, ...], image: tuple[int, ...]) -> tuple[float, ...]:
    """Spacing of an image that covers what the logits cover."""
    return tuple(mm * old / new for mm, old, new in zip(VARIANTS[variant][1], logits, image, strict=True))


def ours(decoder: Decoder, export: Export, variant: str, logits: tuple[int, ...], image: tuple[int, ...]) -> Run:
    """Logits to slabs of probabilities to a session to a label map."""
    with tempfile.TemporaryDirectory() as folder:
        plans = write_model(Path(folder), variant)
    spacing = image_spacing(variant, logits, image)
    placement = Placement(image, (0, 1, 2), (False,) * 3, tuple((0, size) for size in image), spacing)
    exporter = Exporter(plans, Library(plans), export)

    def run(values: np.ndarray) -> object:
        session = decoder.open(CHANNELS, image, axis=axis_of(placement))
        for slab in exporter.probabilities(torch.from_numpy(values), placement):
            session.update(slice(slab.start, slab.stop), slab.probabilities)
        return session.finalize().label_map

    return run


def nnunet(variant: str, logits: tuple[int, ...], image: tuple[int, ...], *, stored: bool) -> Run:
    """nnU-Net's own conversion; with stored probabilities its writing of them too."""
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape as convert,
    )
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    with tempfile.TemporaryDirectory() as folder:
        checked = write_model(Path(folder), variant)
    plans = PlansManager(dict(checked.plans))
    properties = {
        "spacing": list(image_spacing(variant, logits, image)),
        "shape_before_cropping": image,
        "shape_after_cropping_and_before_resampling": image,
        "bbox_used_for_cropping": [[0, size] for size in image],
    }

    def run(values: np.ndarray) -> object:
        configuration, labels = plans.get_configuration("3d_fullres"), plans.get_label_manager(dict(checked.dataset))
        result = convert(values, plans, configuration, labels, properties, stored, num_threads_torch=1)
        if stored:
            with tempfile.TemporaryDirectory() as folder:
                np.savez_compressed(Path(folder) / "case.npz", probabilities=result[1])
        return result

    return run


METHODS: dict[str, Callable[..., Run]] = {
    "nnU-Net, labels": partial(nnunet, stored=False),
    "nnU-Net, stored probabilities": partial(nnunet, stored=True),
    "ours, argmax": partial(ours, ArgmaxDecoder(), "slabs"),
    "ours, Dice": partial(ours, RankSEGDecoder("dice"), "slabs"),
    "ours, exact, argmax": partial(ours, ArgmaxDecoder(), "exact"),
}


def make_logits(path: Path, shape: tuple[int, ...]) -> None:
    """Smooth logits of three classes, with much background and uncertain borders."""
    coarse = torch.randn(
        (1, CHANNELS, *(max(2, size // 12) for size in shape)), generator=torch.Generator().manual_seed(0)
    )
    logits = 6 * torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0]
    logits[0] += 4
    np.save(path, logits.half().numpy())


def measure(method: str, variant: str, logits: Path, image: tuple[int, ...], rounds: int) -> tuple[float, int]:
    """Median CPU seconds and extra peak bytes; meant for a fresh process."""
    torch.set_num_threads(1)
    values = np.load(logits)
    run = METHODS[method](variant, values.shape[1:], image)
    before = start_peak()
    seconds, extra = [], 0
    for _ in range(rounds):
        start = time.process_time()
        run(values)
        seconds.append(time.process_time() - start)
        extra = extra or peak_bytes() - before
    return statistics.median(seconds), extra


def shape_of(text: str) -> tuple[int, ...]:
    """A shape as the command line has it."""
    return tuple(map(int, text.split("x")))


def main() -> None:
    """Measure every method on every variant and print a Markdown table a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logits", type=shape_of, default=(150, 400, 400))
    parser.add_argument("--image", type=shape_of, default=(300, 512, 512))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    console = Console(width=120)
    console.print(f"torch {torch.__version__}, one thread; {(CHANNELS, *arguments.logits)} to {arguments.image}")
    columns = ("method", "CPU seconds", "extra peak MiB", "x less CPU", "x less memory")
    with tempfile.TemporaryDirectory() as folder:
        logits = Path(folder) / "logits.npy"
        make_logits(logits, arguments.logits)
        for variant in arguments.variants:
            rows, anchor = [], (float("nan"), float("nan"))
            for method in arguments.methods:
                with multiprocessing.get_context("spawn").Pool(1) as fresh:
                    given = (method, variant, logits, arguments.image, arguments.rounds)
                    seconds, extra = fresh.apply(measure, given)
                anchor = (seconds, extra) if method == "nnU-Net, labels" else anchor
                ratios = (f"{anchor[0] / seconds:.1f}", f"{anchor[1] / extra:.1f}")
                rows.append((method, f"{seconds:.1f}", f"{extra / 2**20:.0f}", *ratios))
            print_table(console, variant, columns, rows, markdown=True)


if __name__ == "__main__":
    main()
