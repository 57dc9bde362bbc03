"""Structures of a label map, and the scores of all of them in one case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer
from scipy import ndimage

from rankseg_med.errors import InputError
from rankseg_med.masks import Box, bounding_box
from rankseg_med.metrics._checks import check_same_shape, check_spacing, check_tolerance
from rankseg_med.metrics.overlap import VoxelCounts, count_voxels, volume_ml
from rankseg_med.metrics.scoring import DEFAULT_SCORING, Scoring, score_masks


@dataclass(frozen=True)
class Region:
    """A structure to score: one label, or the union of several. Regions may overlap and nest.

    Attributes:
        name: what reports call it.
        labels: values of its voxels in the label maps; positive, since 0 is background.
        tolerance_mm: distance in mm up to which its surface counts as right in surface Dice, such as the disagreement
            of experts about this structure.

    Raises:
        ValueError: there is no label, one is not positive or occurs twice, the name is empty, or the tolerance is
            negative, infinite or NaN.
    """

    name: str
    labels: tuple[int, ...]
    tolerance_mm: float = 1.0

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError(f"a region must have a name, got an empty one for labels {self.labels}")
        if not self.labels or min(self.labels) < 1 or len(set(self.labels)) < len(self.labels):
            raise InputError(
                f"region {self.name!r} must have at least one label, each a positive value (0 is background) and named "
                f"once, got {self.labels}"
            )
        check_tolerance(self.tolerance_mm)

    def mask(self, label_map: Integer[np.ndarray, "*spatial"]) -> Bool[np.ndarray, "*spatial"]:
        """Which voxels of a label map are of the region."""
        return np.isin(label_map, self.labels)


def label_regions(names: Mapping[int, str]) -> tuple[Region, ...]:
    """One region for each label, in their order.

    Args:
        names: positive value to name of the labels.

    Raises:
        ValueError: a label is not positive or has no name.
    """
    return tuple(Region(name, (label,)) for label, name in names.items())


@dataclass(frozen=True)
class RegionScores:
    """The scores of one region in one case.

    Attributes:
        region: what was scored.
        values: metric name to score; NaN is undefined, by the `EmptyPolicy` in force.
        prediction_volume_ml: predicted volume in millilitres.
        reference_volume_ml: reference volume in millilitres.
        voxels: how many voxels of the image are right and wrong, whatever was scored.
    """

    region: Region
    values: Mapping[str, float]
    prediction_volume_ml: float
    reference_volume_ml: float
    voxels: VoxelCounts


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case; presets whose results need more of a case have a subclass for it.

    Attributes:
        regions: scores of each region, in the preset's order.
    """

    regions: list[RegionScores]


def score_label_maps(
    prediction: Integer[np.ndarray, "..."],
    reference: Integer[np.ndarray, "..."],
    regions: Sequence[Region],
    spacing_mm: Sequence[float],
    scoring: Scoring = DEFAULT_SCORING,
) -> list[RegionScores]:
    """Score every region of a predicted label map.

    Each region is cut to its bounding box first, so the cost follows the size of the structures, not of the image.

    Args:
        prediction: integer label map ``(X, Y, Z)`` or ``(X, Y)``, 0 is background.
        reference: integer label map of the same shape.
        regions: what to score, see `label_regions`; values that are in none of them count as background.
        spacing_mm: distance of neighbouring voxels along each axis, in mm.
        scoring: which metrics, and by which definitions.

    Returns:
        One `RegionScores` for each of ``regions``, in their order.

    Raises:
        TypeError: a label map is not of integers.
        ValueError: the shapes differ, the spacing does not fit them, there is no region, or two share a name.
    """
    for side, label_map in (("prediction", prediction), ("reference", reference)):
        if not np.issubdtype(label_map.dtype, np.integer):
            raise TypeError(
                f"the {side} must be a label map of integers, got dtype {label_map.dtype}; "
                "decode probabilities first; cast a mask with mask.astype(numpy.uint8)"
            )
    check_same_shape(prediction, reference)
    check_spacing(spacing_mm, prediction.ndim)
    names = [region.name for region in regions]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"there must be at least one region to score, and their names must differ, got {names}")
    labels = {label for region in regions for label in region.labels}
    boxes = _label_boxes(prediction, reference, max(labels))
    scores = []
    for region in regions:
        occupied = [boxes[label] for label in region.labels if label in boxes]
        box = _around(*occupied) if occupied else (slice(0),) * prediction.ndim
        predicted, expected = region.mask(prediction[box]), region.mask(reference[box])
        values = score_masks(
            predicted,
            expected,
            spacing_mm,
            scoring,
            tolerance_mm=region.tolerance_mm,
            image_shape=prediction.shape,
        )
        volumes_ml = volume_ml(predicted, spacing_mm), volume_ml(expected, spacing_mm)
        scores.append(RegionScores(region, values, *volumes_ml, count_voxels(predicted, expected, prediction.shape)))
    return scores


def _label_boxes(
    prediction: Integer[np.ndarray, "*spatial"], reference: Integer[np.ndarray, "*spatial"], highest: int
) -> dict[int, Box]:
    """Label to the box around it in both label maps; labels that occur in neither are left out."""
    foreground = bounding_box(prediction, reference)
    boxes: dict[int, Box] = {}
    for label_map in (prediction, reference):
        # find_objects is slow on images in Fortran order, which NIfTI files have.
        found = ndimage.find_objects(np.ascontiguousarray(label_map[foreground]), max_label=highest)
        for label, box in enumerate(found, start=1):
            if box is not None:
                placed = tuple(slice(s.start + f.start, s.stop + f.start) for s, f in zip(box, foreground, strict=True))
                boxes[label] = _around(placed, boxes[label]) if label in boxes else placed
    return boxes


def _around(*boxes: Box) -> Box:
    """The smallest box around all of the boxes, of which there is at least one."""
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
