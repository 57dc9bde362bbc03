"""Stored probabilities and references of made cases."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

AFFINE = np.diag([2.0, 1.5, 1.0, 1.0])
"""Three different spacings, in mm."""


def save_label_map(path: Path, labels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels.astype(np.uint8), affine), path)


def save_probabilities(folder: Path, case_id: str, probabilities: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """``(classes, X, Y, Z)`` as nnU-Net leaves it: ``.npz`` ``(classes, Z, Y, X)`` beside its argmax."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{case_id}.npz", probabilities=probabilities.transpose(0, 3, 2, 1))
    (folder / f"{case_id}.pkl").write_bytes(b"\x80\x04never to be read")
    save_label_map(folder / f"{case_id}.nii.gz", probabilities.argmax(0), affine)


def dirichlet(seed: int, classes: int = 3, shape: tuple[int, ...] = (7, 6, 5)) -> np.ndarray:
    random = np.random.default_rng(seed).dirichlet(np.ones(classes), shape)
    return np.moveaxis(random, -1, 0).astype(np.float32)


@pytest.fixture
def made_cases(tmp_path) -> Callable[..., tuple[Path, Path]]:
    """Write random cases of given ids; returns the folders of probabilities and of references."""

    def write(*case_ids: str) -> tuple[Path, Path]:
        for seed, case_id in enumerate(case_ids):
            probabilities = dirichlet(seed)
            save_probabilities(tmp_path / "probabilities", case_id, probabilities)
            save_label_map(tmp_path / "references" / f"{case_id}.nii.gz", probabilities.argmax(0))
        return tmp_path / "probabilities", tmp_path / "references"

    return write
