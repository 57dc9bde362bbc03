"""Logits of overlapping windows, added up where they may still change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor


class Band:
    """Weighted means over windows, for as many slices as a window is high.

    Args:
        num_classes: Channels.
        plane: Shape of a slice.
        weights: ``(height, *window plane)`` weight of each voxel of a window.
        device: Where sums are kept; main memory if they do not fit there.
    """

    def __init__(
        self, num_classes: int, plane: Sequence[int], weights: Float32[Tensor, "height *window"], device: torch.device
    ) -> None:
        self.height = weights.shape[0]
        try:
            self.weights = weights.to(device)
            self.sums: Float32[Tensor, "classes height *plane"] = torch.zeros(
                (num_classes, self.height, *plane), device=device
            )
            self.total: Float32[Tensor, "height *plane"] = torch.zeros((self.height, *plane), device=device)
        except torch.OutOfMemoryError:
            if device.type == "cpu":
                raise
            self.__init__(num_classes, plane, weights, torch.device("cpu"))  # type: ignore[misc]

    @property
    def device(self) -> torch.device:
        """Where the sums are."""
        return self.sums.device

    def to_main_memory(self) -> None:
        """Give the device's memory back."""
        self.weights, self.sums, self.total = self.weights.cpu(), self.sums.cpu(), self.total.cpu()

    def add(self, place: tuple[slice, ...], logits: Float[Tensor, "classes height *window"]) -> None:
        """Add a window that starts at the band's first slice."""
        where = (slice(None), *place)
        self.sums[(slice(None), slice(None), *place)].addcmul_(logits.to(self.device, torch.float32), self.weights)
        self.total[where] += self.weights

    def means(self, start: int, stop: int) -> Float32[Tensor, "classes slices *plane"]:
        """Mean logits of some of the band's slices."""
        return self.sums[:, start:stop] / self.total[start:stop]

    def advance(self, slices: int) -> None:
        """Move on: the first slices leave, the others move up, empty ones follow."""
        for sums in (*self.sums, self.total):
            # One by one in ascending order: source and target overlap.
            for slice_ in range(self.height - slices):
                sums[slice_].copy_(sums[slice_ + slices])
            sums[max(0, self.height - slices) :].zero_()
