"""Folders as `nnUNetv2_predict --save_probabilities` leaves them, made with SimpleITK, which nnU-Net reads with."""

import json
from pathlib import Path

import numpy as np
import SimpleITK
from scipy.ndimage import gaussian_filter

from rankseg_med.demo.phantom import make_phantom, write_phantom

GRIDS = {
    "canonical": {},
    "stored_lps": {"axis_codes": "LPS"},
    "turned": {"axis_codes": "SAL"},
    "oblique": {"tilt_degrees": 20.0},
}
"""As scanners write them; of three different lengths, so that no two axes can be mistaken for each other."""


def on_levels(foreground: np.ndarray) -> np.ndarray:
    """The background before given classes, all whole multiples of 1 / 65535, which sessions keep exactly."""
    foreground = np.rint(foreground * 65535)
    return (np.concatenate([65535 - foreground.sum(0, keepdims=True), foreground]) / 65535).astype(np.float32)


def write_phantoms(folder: Path, seed: int = 3) -> None:
    """One phantom on every grid: ``images/`` and ``labels/``."""
    for name, grid in GRIDS.items():
        phantom = make_phantom(seed, shape=(32, 28, 24), spacing_mm=(9.0, 9.0, 10.0), **grid)
        write_phantom(phantom, folder / "images" / f"{name}.nii.gz", folder / "labels" / f"{name}.nii.gz")


def write_output(folder: Path, phantoms: Path, *, regions: bool = False) -> dict[str, np.ndarray]:
    """An uncertain network's output: blurred, noisy truth.

    Returns:
        The probabilities by case id, ``(classes or regions, Z, Y, X)``.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    written = {}
    for path in sorted((phantoms / "labels").iterdir()):
        truth = SimpleITK.ReadImage(str(path))
        voxels = SimpleITK.GetArrayFromImage(truth)
        organ, tumour = (gaussian_filter((voxels == label).astype(float), 1.0) for label in (1, 2))
        organ, tumour = (p * rng.uniform(0.6, 1, p.shape) for p in (organ, tumour))
        organ[1, 1, 1] = 0.9  # an island
        if regions:
            probabilities = on_levels(np.stack([np.maximum(organ, tumour), tumour]))[1:]
            label_map = np.where(probabilities[1] > 0.5, 2, probabilities[0] > 0.5)
        else:
            probabilities = on_levels(np.stack([organ, tumour]) * 0.99)
            label_map = probabilities.argmax(0)
        name = path.name.removesuffix(".nii.gz")
        np.savez_compressed(folder / f"{name}.npz", probabilities=probabilities)
        (folder / f"{name}.pkl").write_bytes(b"\x80\x04never to be read")
        image = SimpleITK.GetImageFromArray(label_map.astype(np.uint8))
        image.CopyInformation(truth)
        SimpleITK.WriteImage(image, str(folder / path.name))
        written[name] = probabilities
    labels = {"background": 0, "organ": [1, 2], "tumour": 2} if regions else {"background": 0, "organ": 1, "tumour": 2}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz", "numTraining": 4}
    (folder / "dataset.json").write_text(
        json.dumps({**dataset, **({"regions_class_order": [1, 2]} if regions else {})})
    )
    (folder / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO", "plans_name": "nnUNetPlans"}))
    return written
