"""Cases, splits by patient, loading and normalisation of the four data sets behind the comparison of decoders.

Every case stays on its own grid: nothing is resampled but the CT from which lung without a nodule is cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

FOLDS = 5
_SPLIT_SEED = 0
_HIPPOCAMPUS_TEST, _HIPPOCAMPUS_TUNING = 40, 30
_LEFT_ATRIUM_TUNING = 16

_LUNG_CROPS = 60
_LUNG_CROP_SHAPE = (44, 44, 6)  # the nodule crops' median
_NODULE_SPACING_MM = (0.703, 0.703, 1.25)  # likewise
_LUNG_BELOW_HU = -500
_LEAST_LUNG_SHARE = 0.5
_LEAST_IN_PLANE = 16
_DISTANCE_FROM_MASK = 2

Box = tuple[slice, slice, slice]
_WHOLE: Box = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Case:
    """An image in memory and its reference.

    Attributes:
        case_id: Unique within its data set.
        image: Normalised; 0 is what a network's windows are padded with.
        labels: Class of every voxel, 0 is background.
        spacing_mm: Edge lengths of a voxel.
        box: The part whose probabilities are stored; all of the image goes through the network.
    """

    case_id: str
    image: Float[Tensor, "1 X Y Z"]
    labels: UInt8[Tensor, "X Y Z"]
    spacing_mm: tuple[float, float, float]
    box: Box = _WHOLE


@dataclass(frozen=True)
class Split:
    """Case ids by use; no patient is in two of them.

    Attributes:
        training: Weights are fitted to these.
        tuning: Cases for choices after training, such as calibration; no network chooses anything by them.
        test: Cases for scores alone.
    """

    training: tuple[str, ...]
    tuning: tuple[str, ...]
    test: tuple[str, ...]


def _hounsfield(image: Tensor) -> Tensor:
    return (image.clamp(-1000, 400) + 1000) / 1400


def _uptake(image: Tensor) -> Tensor:
    return image.clamp(max=20) / 10


def _standardised(image: Tensor) -> Tensor:
    return (image - image.mean()) / image.std()


_NORMALISATION: dict[str, Callable[[Tensor], Tensor]] = {
    "lung_nodules": _hounsfield,
    "hippocampus": _standardised,
    "sarcoma_pet": _uptake,
    "left_atrium": _standardised,
}


def load_cases(data: Path, dataset: str) -> dict[str, Case]:
    """All labelled cases of a data set, by case id in order.

    Args:
        data: Folder of all data sets.
        dataset: Its folder there.
    """
    images = sorted((data / dataset / "images").glob("*.nii.gz"))
    if not images:
        raise FileNotFoundError(f"no images in {data / dataset / 'images'}")
    cases = [_load_case(path, _NORMALISATION[dataset]) for path in images]
    return {case.case_id: case for case in cases}


def folds_by_patient(case_ids: Iterable[str]) -> list[Split]:
    """For every fold the split that tests on it, tunes on the next one and trains on the other three.

    Args:
        case_ids: ``<patient>_R_<nodule>``, or the patient alone.
    """
    ids = sorted(case_ids)
    patients = _shuffled({patient_of(case_id) for case_id in ids})
    fold_of = {patient: place % FOLDS for place, patient in enumerate(patients)}
    members = [tuple(case_id for case_id in ids if fold_of[patient_of(case_id)] == fold) for fold in range(FOLDS)]
    splits = []
    for test in range(FOLDS):
        tuning = (test + 1) % FOLDS
        training = [case_id for fold in range(FOLDS) if fold not in (test, tuning) for case_id in members[fold]]
        splits.append(Split(tuple(sorted(training)), members[tuning], members[test]))
    return splits


def hippocampus_split(case_ids: Iterable[str]) -> Split:
    """One seeded split."""
    ids = _shuffled(case_ids)
    tuning_end = _HIPPOCAMPUS_TEST + _HIPPOCAMPUS_TUNING
    return Split(
        training=tuple(sorted(ids[tuning_end:])),
        tuning=tuple(sorted(ids[_HIPPOCAMPUS_TEST:tuning_end])),
        test=tuple(sorted(ids[:_HIPPOCAMPUS_TEST])),
    )


def left_atrium_split(data: Path, labelled: int) -> Split:
    """The published test cases, tuning cases set aside from the published training cases, and some of the rest.

    Args:
        data: Folder of all data sets.
        labelled: How many cases to train on; fewer are a subset of more.
    """
    published = json.loads((data / "left_atrium" / "split.json").read_text())
    ids = _shuffled(published["training"])
    return Split(
        training=tuple(sorted(ids[_LEFT_ATRIUM_TUNING : _LEFT_ATRIUM_TUNING + labelled])),
        tuning=tuple(sorted(ids[:_LEFT_ATRIUM_TUNING])),
        test=tuple(sorted(published["test"])),
    )


def lung_without_nodule(data: Path) -> list[Case]:
    """Crops of a CT at the nodule crops' median spacing: at least half of each is lung, and none overlap."""
    image, spacing_mm = _read(data / "ct" / "thorax_lps_1p5mm.nii.gz")
    zoom = [old / new for old, new in zip(spacing_mm, _NODULE_SPACING_MM, strict=True)]
    image = ndimage.zoom(image, zoom, order=1, grid_mode=True, mode="nearest")
    components, _ = ndimage.label(image < _LUNG_BELOW_HU)
    # Both lungs with the airways between them are larger than the air around the body, which the image cuts off.
    lung = components == np.bincount(components[components > 0]).argmax()
    normalised = _hounsfield(torch.from_numpy(image))[None]

    free = np.ones(image.shape, dtype=bool)
    crops: list[Case] = []
    generator = np.random.default_rng(_SPLIT_SEED)
    for centre in generator.permutation(np.argwhere(lung)):
        start = centre - np.array(_LUNG_CROP_SHAPE) // 2
        if (start < 0).any() or (start + _LUNG_CROP_SHAPE > image.shape).any():
            continue
        crop = tuple(slice(low, low + size) for low, size in zip(start, _LUNG_CROP_SHAPE, strict=True))
        if lung[crop].mean() < _LEAST_LUNG_SHARE or not free[crop].all():
            continue
        free[crop] = False
        labels = torch.zeros(_LUNG_CROP_SHAPE, dtype=torch.uint8)
        crops.append(Case(f"thorax_{len(crops):02d}", normalised[:, *crop].clone(), labels, _NODULE_SPACING_MM))
        if len(crops) == _LUNG_CROPS:
            return crops
    raise ValueError(f"the CT has room for {len(crops)} crops of lung, {_LUNG_CROPS} are wanted")


def beside_nodule(case: Case) -> Case | None:
    """The same image, of which the largest box beside the mask is kept; None where none is large enough."""
    shape = case.labels.shape
    boxes: list[Box] = []
    for axis, voxels in enumerate(case.labels.nonzero().T):
        before = slice(0, max(0, int(voxels.min()) - _DISTANCE_FROM_MASK))
        after = slice(min(shape[axis], int(voxels.max()) + 1 + _DISTANCE_FROM_MASK), shape[axis])
        for kept in (before, after):
            x, y, z = (kept if other == axis else slice(0, size) for other, size in enumerate(shape))
            boxes.append((x, y, z))
    sizes = [[part.stop - part.start for part in box] for box in boxes]
    volumes = [x * y * z if min(x, y) >= _LEAST_IN_PLANE else 0 for x, y, z in sizes]
    largest = int(np.argmax(volumes))
    return replace(case, case_id=f"{case.case_id}_beside", box=boxes[largest]) if volumes[largest] else None


def _load_case(path: Path, normalise: Callable[[Tensor], Tensor]) -> Case:
    image, spacing_mm = _read(path)
    labels, _ = _read(path.parents[1] / "labels" / path.name)
    return Case(
        case_id=path.name.removesuffix(".nii.gz"),
        image=normalise(torch.from_numpy(image))[None],
        labels=torch.from_numpy(labels.astype(np.uint8)),
        spacing_mm=spacing_mm,
    )


def _read(path: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    image = nib.load(path)
    x, y, z = (float(length) for length in image.header.get_zooms())
    return np.ascontiguousarray(image.get_fdata(dtype=np.float32)), (x, y, z)


def patient_of(case_id: str) -> str:
    """Whom a case is of; nodules alone have several a patient."""
    return case_id.split("_R_")[0]


def _shuffled(names: Iterable[str]) -> Sequence[str]:
    ordered = sorted(names)
    return [ordered[place] for place in np.random.default_rng(_SPLIT_SEED).permutation(len(ordered))]
