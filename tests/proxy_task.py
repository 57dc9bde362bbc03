"""A proxy task that is trained in a moment, for tests of the search and of its command."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml


def write_proxy_task(folder: Path) -> None:
    """``list.json``, bright balls in noise, one to a fold, and ``tiny.yaml``, a config of trainings of a moment."""
    rng, entries = np.random.default_rng(0), []
    for index in range(5):
        distance = np.linalg.norm(np.indices((8, 8, 8)).T - rng.uniform(3, 5, 3), axis=-1).T
        labels = (distance < 3).astype(np.uint8)
        image = (rng.normal(scale=0.3, size=labels.shape) + labels).astype(np.float32)
        for part, array in (("i", image), ("l", labels)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{part}{index}.nii.gz")
        entries.append({"id": f"ball_{index}", "image": f"i{index}.nii.gz", "label": f"l{index}.nii.gz", "fold": index})
    labels = {"0": "background", "1": "nodule"}
    (folder / "list.json").write_text(json.dumps({"name": "balls", "labels": labels, "training": entries}))
    changes = {
        "extends": "loss_proxy_lung_nodules",
        "spacing_mm": [1.0, 1.0, 1.0],
        "intensity": {"_target_": "NormalizeIntensityd", "keys": "image"},
        "roi_size": [8, 8, 8],
        "network_def::channels": [2, 4],
        "network_def::strides": [2],
        "epochs": 1,
        "iterations_per_epoch": 2,
        "batch_size": 1,
        "augmentation::transforms": [],
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(changes, sort_keys=False))
