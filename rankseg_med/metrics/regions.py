"""What of a label map is scored as one structure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer

from rankseg_med.errors import InputError
from rankseg_med.metrics._checks import check_tolerance


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
            raise InputError(f"A region must have a name, got an empty one for labels {self.labels}.")
        if not self.labels or min(self.labels) < 1 or len(set(self.labels)) < len(self.labels):
            raise InputError(
                f"Region {self.name!r} must have at least one label, each a positive value (0 is background) and named "
                f"once, got {self.labels}."
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
