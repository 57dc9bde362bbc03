"""Train the network that `rankseg-med demo` uses, on phantoms only.

    python pipelines/train_demo_network.py WORK_FOLDER [--phantoms 48] [--output demo.safetensors]

Takes about ten minutes on two cores. The shipped weights were made by this script with its defaults; run it with
``--output rankseg_med/networks/weights/demo.safetensors`` to make them again; ``models/model.pt``, where MONAI's bundle
programs look for weights, is the same state dictionary by `torch.save`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from rankseg_med.configuration import load_config
from rankseg_med.demo import make_phantom, write_phantom
from rankseg_med.studies import atomic_write, find_studies
from rankseg_med.training import LAST, split_studies, train
from rankseg_med.workflows import build_manifest


def write_phantoms(folder: Path, count: int) -> None:
    """Phantom studies with seeds 0 to count - 1 on varied grids."""
    rng = np.random.default_rng(0)
    for seed in range(count):
        in_plane_mm, between_mm = rng.uniform(2.5, 3.5), rng.uniform(3.0, 5.0)
        phantom = make_phantom(
            seed,
            shape=(round(290 / in_plane_mm), round(290 / in_plane_mm), round(256 / between_mm)),
            spacing_mm=(in_plane_mm, in_plane_mm, between_mm),
            tilt_degrees=rng.uniform(-12, 12),
        )
        name = f"phantom_{seed:03d}.nii.gz"
        write_phantom(phantom, folder / "images" / name, folder / "labels" / name)


def main() -> None:
    """Make phantoms, train on them, export the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for phantoms and checkpoints")
    parser.add_argument("--phantoms", type=int, default=48)
    parser.add_argument("--epochs", type=int, help="in place of the config's")
    parser.add_argument("--output", type=Path, default=Path("demo.safetensors"))
    arguments = parser.parse_args()

    write_phantoms(arguments.work, arguments.phantoms)
    manifest = arguments.work / "manifest.json"
    config = load_config("train", "demo")
    label_names = dict(enumerate(config["label_names"][1:], start=1))
    build_manifest(arguments.work / "images", arguments.work / "labels", manifest, label_names=label_names, folds=6)
    if arguments.epochs is not None:
        config["epochs"] = arguments.epochs
    training, validation = split_studies(find_studies(manifest), fold=0)
    train(config, training, validation, arguments.work / "run", on_epoch=print)

    checkpoint = torch.load(arguments.work / "run" / LAST, map_location="cpu", weights_only=True)
    with atomic_write(arguments.output) as temporary:
        save_file(checkpoint["network"], temporary)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
