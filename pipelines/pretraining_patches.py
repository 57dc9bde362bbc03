"""Patches with a class each, cut out of volumes with label maps: image-level labels where a data set has none."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from rankseg_med.studies import Study, atomic_write

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Patches:
    """How patches are cut.

    Attributes:
        share: Of the image, along each axis, from 0 to 1.
        background: Whether a corner of the image without any structure makes a patch too.
    """

    share: tuple[float, float, float]
    background: bool


PATCHES = {
    # Along the body's axis that anterior and posterior differ in.
    "hippocampus": Patches((1.0, 0.5, 1.0), background=False),
    # All slices; the nodule is in the middle of a crop, and rarely in a corner.
    "lung_nodules": Patches((0.45, 0.45, 1.0), background=True),
}
"""Data sets by name."""


def cut_patches(studies: Sequence[Study], patches: Patches, label_names: Sequence[str], folder: Path) -> None:
    """Cut patches out of studies: ``images/``, and ``classes.csv``, which is written last; if it is there, all are.

    Of each study and label there is one around the label's centre of mass, of the label's class. Nothing of the label
    maps is kept but these classes, and that a structure is in the middle of its patch.

    Args:
        studies: With label maps.
        patches: How.
        label_names: Names of all labels, the background's first.
        folder: Where they go.
    """
    table = folder / "classes.csv"
    if table.exists():
        return
    rows = [("case_id", "class")]
    for study in studies:
        assert study.label is not None
        image = nib.load(study.image)
        label_map = np.asarray(nib.load(study.label).dataobj)
        for label, box in boxes_of(label_map, patches):
            name = label_names[label]
            case_id = f"{study.case_id}_{name}"
            with atomic_write(folder / "images" / f"{case_id}.nii.gz") as temporary:
                nib.save(image.slicer[box], temporary)
            rows.append((case_id, name))
    with atomic_write(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def boxes_of(label_map: np.ndarray, patches: Patches) -> Iterator[tuple[int, Box]]:
    """Label and box of each patch of a label map ``(X, Y, Z)``; the background's only where a corner is free."""
    shape = np.array(label_map.shape)
    size = np.maximum(1, np.round(shape * patches.share)).astype(int)
    for label in np.unique(label_map[label_map > 0]):
        centre = np.array(ndimage.center_of_mass(label_map == label))
        starts = np.clip(np.round(centre - (size - 1) / 2).astype(int), 0, shape - size)
        yield int(label), _box(starts, size)
    if patches.background:
        corners = itertools.product(*({0, int(free)} for free in shape - size))
        free = (box for corner in sorted(corners) if not label_map[box := _box(np.array(corner), size)].any())
        yield from ((0, box) for box in itertools.islice(free, 1))


def _box(starts: np.ndarray, size: np.ndarray) -> Box:
    return tuple(slice(int(start), int(start + length)) for start, length in zip(starts, size, strict=True))
