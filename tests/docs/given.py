"""What readers of the documentation have: images, references, and probabilities as nnU-Net leaves them."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from rankseg_med.demo import make_phantom, write_phantom
from tests.evaluation.conftest import save_label_map, save_probabilities


def write_studies(images: Path, labels: Path, *names: str) -> None:
    """A phantom for each name, small enough to be segmented at once."""
    for seed, name in enumerate(names):
        phantom = make_phantom(700 + seed, shape=(48, 48, 32), spacing_mm=(6.0, 6.0, 8.0))
        write_phantom(phantom, images / f"{name}.nii.gz", labels / f"{name}.nii.gz")


def write_probabilities(probabilities: Path, labels: Path, *names: str) -> None:
    """Of an uncertain network: an organ with a tumour for each name, blurred, and off by a few per cent everywhere."""
    for number, name in enumerate(names):
        truth = np.zeros((16, 14, 12), np.uint8)
        truth[2 : 9 + number, 2:12, 2:10] = 1
        truth[4:7, 4 : 7 + number % 3, 4:7] = 2
        save_label_map(labels / f"{name}.nii.gz", truth)
        scores = np.stack([gaussian_filter((truth == label).astype(float), 1) for label in range(3)])
        scores += np.random.default_rng(number).uniform(0, 0.03, scores.shape)
        save_probabilities(probabilities, name, (scores / scores.sum(0)).astype(np.float32))


def write_dataset(folder: Path) -> None:
    """``dataset.json``, as nnU-Net has it with models and copies it beside predictions."""
    labels = {"background": 0, "liver": 1, "tumour": 2}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 12, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))


def cut_short(path: Path) -> None:
    """An image whose copying was interrupted."""
    whole = nib.Nifti1Image(np.random.default_rng(0).normal(size=(40, 40, 20)), np.eye(4))
    nib.save(whole, path)
    path.write_bytes(path.read_bytes()[:20_000])
