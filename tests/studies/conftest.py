"""Hand-made NIfTI files for the tests of this room."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

AFFINE = np.array([[0.7, 0, 0, -90.5], [0, 0.7, 0, -126.25], [0, 0, 2.5, 33.0], [0, 0, 0, 1]])


@pytest.fixture
def ct() -> np.ndarray:
    """A volume with no symmetry, so that any swapped or flipped axis shows; values that int16 and float32 hold."""
    return np.random.default_rng(0).integers(-1000, 2000, (5, 6, 7)).astype(np.int16)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write voxels to `name` below the test's folder with nibabel."""

    def save_nifti(
        name: str, voxels: np.ndarray, affine: np.ndarray = AFFINE, nifti: type = nib.Nifti1Image, **fields: object
    ) -> Path:
        image = nifti(voxels, affine)
        for field, value in fields.items():
            image.header[field] = value
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.to_filename(tmp_path / name)
        return tmp_path / name

    return save_nifti


@pytest.fixture
def rewrite_header() -> Callable[..., Path]:
    """Set raw header fields of a single-file NIfTI-1 in place, with none of nibabel's repairs and checks."""

    def rewrite(path: Path, **fields: object) -> Path:
        compressed = path.name.endswith(".gz")
        content = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
        header = np.frombuffer(content[:348], dtype=nib.Nifti1Header.template_dtype).copy()
        for field, value in fields.items():
            header[field] = value
        content = header.tobytes() + content[348:]
        path.write_bytes(gzip.compress(content) if compressed else content)
        return path

    return rewrite
