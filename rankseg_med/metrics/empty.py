"""What a metric gives when there is nothing to measure."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EmptyPolicy:
    """The score of a structure that the prediction, the reference or both do not contain.

    No distance is defined there, nor an overlap when both are empty, and tools disagree silently: MONAI's mean HD95
    drops a missed structure, so that missing everything scores 0 mm. Here the rule is an object that the caller
    chooses and the results show.

    The default leaves a structure that neither side contains out of the means (NaN, counted as undefined), and gives
    one that only one side contains the worst score there is: overlap 0, and the diagonal of the image as distance, so
    that a missed or invented structure never improves a mean.

    Attributes:
        both_empty_overlap: Dice and Jaccard when both masks are empty; NaN is undefined. KiTS23 gives 1.
        one_empty_overlap: Dice and Jaccard when exactly one mask is empty.
        both_empty_distance_mm: distances when both masks are empty, in mm; NaN is undefined.
        one_empty_distance_mm: distances when exactly one mask is empty, in mm; ``"image diagonal"`` is
            the longest distance between two voxels of the image.
    """

    both_empty_overlap: float = math.nan
    one_empty_overlap: float = 0.0
    both_empty_distance_mm: float = math.nan
    one_empty_distance_mm: float | Literal["image diagonal"] = "image diagonal"

    def overlap(self, *, both_empty: bool) -> float:
        """Dice and Jaccard of a pair of which both masks, or else exactly one, are empty."""
        return self.both_empty_overlap if both_empty else self.one_empty_overlap

    def distance_mm(self, *, both_empty: bool, image_diagonal_mm: float) -> float:
        """Distance in mm of a pair of which both masks, or else exactly one, are empty.

        Args:
            both_empty: whether both masks are empty.
            image_diagonal_mm: the longest distance between two voxels of the image.
        """
        if both_empty:
            return self.both_empty_distance_mm
        return image_diagonal_mm if self.one_empty_distance_mm == "image diagonal" else self.one_empty_distance_mm


DEFAULT_EMPTY_POLICY = EmptyPolicy()
"""Undefined where neither side has the structure, the worst score where only one has it."""
