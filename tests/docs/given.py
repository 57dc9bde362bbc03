"""What readers of the documentation have: images, references, and probabilities as nnU-Net leaves them."""

import json
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from rankseg_med.configuration import load_config
from rankseg_med.demo import make_phantom, write_phantom
from tests.evaluation.conftest import save_label_map, save_probabilities
from tests.nnunet.given import dataset_of, plans_of, write_model


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


def write_blobs(images: Path, labels: Path, *names: str) -> None:
    """A body of two halves, of voxels of 1 mm, as small as a hippocampus, for each name."""
    for number, name in enumerate(names):
        truth = np.zeros((32, 36, 28), np.uint8)
        truth[10:22, 6 : 16 + number % 3, 8:20] = 1
        truth[10:22, 16 + number % 3 : 28, 8:20] = 2
        image = np.random.default_rng(number).normal(100, 5, truth.shape) + 50 * truth
        for path, voxels in {images: image.astype(np.float32), labels: truth}.items():
            path.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path / f"{name}.nii.gz")


def write_untrained(path: Path, config: str) -> None:
    """Weights as training leaves them at its very start."""
    torch.manual_seed(0)  # of some untrained networks a class never occurs
    network = load_config("inference", config, device="cpu").get_parsed_content("network")
    torch.save({"network": network.state_dict()}, path)


def write_results(model: Path, labels: Path, *, per_fold: int = 3) -> None:
    """What nnU-Net leaves of a model: two folds with the probabilities of their validation cases, and networks."""
    write_model(model, plans_of(), dataset_of(), folds=(0, 1))
    for fold in range(2):
        names = [f"case_{fold}{number}" for number in range(per_fold)]
        write_probabilities(model / f"fold_{fold}" / "validation", labels, *names)


def write_predictions(folder: Path, labels: Path) -> None:
    """Label maps as a network would have them: references, moved by a voxel, each with a speck far from the rest."""
    for path in sorted(labels.glob("*.nii.gz")):
        truth = nib.load(path)
        found = np.roll(np.asarray(truth.dataobj), 1, axis=0)
        found[:2, :2, :2] = 1
        save_label_map(folder / path.name, found, truth.affine)


def write_list(path: Path, names: Iterable[str], *structures: str, folds: int = 1) -> None:
    """A data list of ``images/`` and ``labels/``, dealt out to folds in turn."""
    training = [
        {"id": name, "image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz", "fold": number % folds}
        for number, name in enumerate(names)
    ]
    labels = dict(enumerate(("background", *structures)))
    path.write_text(json.dumps({"name": "made", "labels": labels, "training": training}))
