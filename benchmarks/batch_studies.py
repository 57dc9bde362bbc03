"""Many small studies for benchmarks/batch.py: copies of real images, some of them broken in one of ten ways."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from rankseg_med.studies import Study

BROKEN_SHARE = 0.05


@dataclass(frozen=True)
class Trial:
    """A study and what is wrong with it.

    Attributes:
        study: Its image lies in the benchmark's folder, named after the case id.
        broken: How, a key of `BREAKS`; None for a good one.
    """

    study: Study
    broken: str | None


def _truncated(good: Path, path: Path) -> None:
    content = good.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _no_nifti(good: Path, path: Path) -> None:
    path.write_bytes(gzip.compress(b"This is no image. " * 100))


def _nan(good: Path, path: Path) -> None:
    values = _values(good)
    values[tuple(size // 2 for size in values.shape)] = np.nan
    _save(values, path)


def _flat(good: Path, path: Path) -> None:
    _save(_values(good)[..., 0], path)


def _volumes(good: Path, path: Path) -> None:
    _save(np.stack([_values(good)] * 3, axis=-1), path)


def _zero_size(good: Path, path: Path) -> None:
    _save(_values(good)[:, :0], path)


def _rgb(good: Path, path: Path) -> None:
    colours = np.zeros(_values(good).shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    _save(colours, path)


def _singular(good: Path, path: Path) -> None:
    image = nib.Nifti1Image(_values(good), None)
    image.header["sform_code"] = 1  # its rows stay zero
    nib.save(image, path)


def _empty(good: Path, path: Path) -> None:
    path.touch()


def _dangling(good: Path, path: Path) -> None:
    path.symlink_to("nowhere.nii.gz")


BREAKS: dict[str, Callable[[Path, Path], None]] = {
    "truncated gzip": _truncated,
    "not a NIfTI": _no_nifti,
    "NaN voxel": _nan,
    "2-D": _flat,
    "4-D, 3 volumes": _volumes,
    "zero-size axis": _zero_size,
    "RGB": _rgb,
    "singular affine": _singular,
    "empty file": _empty,
    "dangling link": _dangling,
}
"""Write a broken image, by what is wrong with it, from a good one to a new path."""


def make_trials(images: Sequence[Path], folder: Path, count: int, seed: int) -> list[Trial]:
    """Fill a folder with studies, good and broken ones mixed.

    Args:
        images: Good ones, NIfTI; each is used again under new ids as often as needed.
        folder: Is made; must not exist.
        count: Number of studies, more than ten; a twentieth, at least ten, are broken, each way as often as the others.
        seed: Chooses which.

    Returns:
        One per study, in the order of case ids.

    Raises:
        ValueError: Too few studies.
    """
    if count <= len(BREAKS):
        raise ValueError(f"more than {len(BREAKS)} studies are needed, as so many are broken, got {count}")
    folder.mkdir(parents=True)
    places = random.Random(seed).sample(range(count), max(len(BREAKS), round(count * BROKEN_SHARE)))
    ways = {place: list(BREAKS)[turn % len(BREAKS)] for turn, place in enumerate(places)}
    trials = []
    for place in range(count):
        case_id = f"study_{place:04d}"
        path, good = folder / f"{case_id}.nii.gz", images[place % len(images)]
        broken = ways.get(place)
        if broken is None:
            shutil.copyfile(good, path)
        else:
            BREAKS[broken](good, path)
        trials.append(Trial(Study(case_id, path), broken))
    return trials


def _values(image: Path) -> np.ndarray:
    return np.asarray(nib.load(image).dataobj, np.float32)


def _save(values: np.ndarray, path: Path) -> None:
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
