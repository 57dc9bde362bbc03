"""Volumes of one study of a report, on the grid of its label map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from monai.data import MetaTensor

from rankseg_med.evaluation.run_report.argmax import NAME, argmax_of
from rankseg_med.evaluation.run_report.study_record import StudyRecord
from rankseg_med.report import StudyView, view_study
from rankseg_med.studies import (
    DicomSegFormat,
    Grid,
    StudyError,
    compare_grids,
    format_of,
    load_image,
    load_label_map,
    read_grid,
)

# Probabilities are stored in steps of 1/255, so that a threshold between two of them takes in some voxels too many, or
# too few. Beyond this share of what was decoded, the mask would be another.
_MOST_OFF = 0.05


def viewed(record: StudyRecord, notes: list[str]) -> StudyView | None:
    """What pictures of a study are made of; None without a label map.

    Args:
        record: What is on disk.
        notes: Gets what is shown otherwise than it was written, or not at all, and why.

    Raises:
        StudyError: The label map cannot be used, or does not say which voxel has which label.
        InputError: What reads it is not installed.
        OSError: It is not there or cannot be read.
    """
    if record.label_map is None:
        return None
    labels, grid = _label_map(record, record.label_map, notes)
    others = {}
    for name, path in {"reference": record.reference, "other label map": record.against}.items():
        if path is not None and _is_usable(path, record.label_map, grid, name, notes):
            others[name] = load_label_map(path)[0].numpy()
    if record.with_argmax and (argmax := argmax_of(record, record.label_map, grid, notes)) is not None:
        others[NAME] = argmax
    image = record.image
    if image is not None and not _is_usable(image, record.label_map, grid, "image", notes):
        image = None
    return view_study(
        labels,
        grid.affine,
        None if image is None else load_image(image)[0].numpy(),
        others,
        ignored_label=record.ignored_label,
    )


def _label_map(record: StudyRecord, path: Path, notes: list[str]) -> tuple[UInt8[np.ndarray, "X Y Z"], Grid]:
    if not record.is_dicom_object:
        labels = load_label_map(path)
    elif isinstance(format := format_of(path), DicomSegFormat) and format.needs_probabilities:
        labels = _thresholded(format, record, path, notes)
    else:
        labels = format.read(path, grid_of=record.image, names=record.label_names)
    x, y, z = labels.shape[1:]
    return labels[0].numpy(), Grid((x, y, z), labels.affine.numpy())


def _thresholded(
    format: DicomSegFormat, record: StudyRecord, path: Path, notes: list[str]
) -> UInt8[MetaTensor, "1 X Y Z"]:
    """The mask of the only structure, by the threshold that is on record."""
    structures = max(len(record.decisions), len(record.label_names or ()))
    if structures != 1 or not record.decisions:
        raise StudyError(
            f"{path}: holds probabilities in place of a label map; those of {structures} structures do not say which "
            "one a voxel was given to"
        )
    (decision,) = record.decisions
    probabilities = format.read_probabilities(path, grid_of=record.image)
    # Nothing reaches more than one.
    threshold = 2.0 if decision["threshold"] is None else decision["threshold"]
    mask = probabilities >= threshold
    shown, decoded = int(mask.sum()), decision["voxels"]
    if abs(shown - decoded) > _MOST_OFF * decoded:
        raise StudyError(
            f"{path}: holds probabilities in place of a label map, in steps of 1/255; {shown} voxels of them reach the "
            f"threshold of {threshold:.4g}, and {decoded} were decoded"
        )
    notes.append(
        "The file holds probabilities in place of a label map. Drawn is where they reach the threshold that was "
        f"decoded by, {shown} voxels, where the label map had {decoded}."
    )
    labels: MetaTensor = mask.to(torch.uint8) * decision["labels"][0]
    return labels


def _is_usable(other: Path, label_map: Path, grid: Grid, name: str, notes: list[str]) -> bool:
    """Whether a file is on the label map's grid; else it is noted why it is not shown."""
    try:
        compare_grids(label_map, grid, other, read_grid(other))
    except (StudyError, OSError) as error:
        notes.append(f"The {name} is not shown: {error}")
        return False
    return True
