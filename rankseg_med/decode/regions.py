"""What is scored: classes, or unions of classes that may be nested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Regions:
    """The label sets whose scores are averaged, such as ``[[1, 2], [2]]`` for kidney with tumour, and tumour.

    Attributes:
        num_classes: Classes of the probability volume, background included.
        labels: For each region the labels that make it up.
    """

    num_classes: int
    labels: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, num_classes: int, regions: Sequence[Sequence[int]] | None) -> Regions:
        """Given regions, or every foreground class for itself.

        Raises:
            ValueError: A region is empty, repeats a label, or names the background or a class that is not there; or
                two regions overlap without one holding the other.
        """
        if regions is None:
            return cls(num_classes, tuple((label,) for label in range(1, num_classes)))
        labels = tuple(tuple(region) for region in regions)
        for region in labels:
            if not region or len(set(region)) < len(region) or not all(0 < label < num_classes for label in region):
                raise ValueError(
                    f"a region is a set of foreground labels from 1 to {num_classes - 1}, got {list(region)}"
                )
        for first in labels:
            for second in labels:
                shared = set(first) & set(second)
                if shared and shared not in (set(first), set(second)):
                    raise ValueError(
                        f"regions must be nested or disjoint, got {list(first)} and {list(second)}; "
                        "a voxel could not be in one without a part of the other"
                    )
        if not labels:
            raise ValueError("at least one region is needed, got none")
        return cls(num_classes, labels)

    @property
    def are_classes(self) -> bool:
        """Whether every region is one class and every foreground class a region."""
        return self.labels == tuple((label,) for label in range(1, self.num_classes))

    def membership(self, device: torch.device) -> Bool[Tensor, "regions classes"]:
        """Which region holds which label."""
        rows = [[label in region for label in range(self.num_classes)] for region in self.labels]
        return torch.tensor(rows, device=device)

    def probabilities(self, classes: Float[Tensor, "classes *voxels"]) -> Float[Tensor, "regions *voxels"]:
        """Probability of each region: the sum over its labels."""
        if self.are_classes:
            return classes[1:]
        return torch.stack([classes[list(region)].sum(0) for region in self.labels])
