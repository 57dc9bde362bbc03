"""The voxels that could be labelled: few, once it is known what a label takes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rankseg_med.decode.blocks import Voxels, joined, take
from rankseg_med.decode.scan import Scan

# The voxels are kept while they take at most this share of the volume's memory in single precision; what does not fit
# is read again.
_KEPT_SHARE = 0.05


class WantedVoxels:
    """Voxels with a region at its limit or above, or with background below its own.

    The first iteration finds them, by the scan's peaks first; later ones take what was kept.

    Args:
        scan: The volume.
        limits: ``(regions,)`` lowest probability of each region that counts.
        background_limit: Lowest probability of background that alone makes a voxel uninteresting.
    """

    def __init__(self, scan: Scan, limits: Float[Tensor, " regions"], background_limit: float = -torch.inf) -> None:
        self.scan = scan
        self.regions = scan.regions
        self.limits = limits.to(scan.blocks.dtype)
        self.background_limit = background_limit
        self._kept: list[Voxels] = []
        self._room = int(_KEPT_SHARE * scan.blocks.num_voxels * scan.blocks.num_classes * 4)
        self._all_kept = False

    def __iter__(self) -> Iterator[Voxels]:
        """Positions in the flat volume, ascending, and class probabilities, a batch at a time."""
        yield from self._kept
        if self._all_kept:
            return
        full = bool(self._kept) or not self._room
        for batch in joined(self._found(int(self._kept[-1][0][-1]) + 1 if self._kept else 0)):
            self._room -= sum(part.nbytes for part in batch)
            full = full or self._room < 0
            if not full:
                self._kept.append(batch)
            yield batch
        self._all_kept = not full

    def contested(self, region: Float[Tensor, "regions n"]) -> Bool[Tensor, " n"]:
        """Which voxels two regions or more could want, from their region probabilities."""
        return (region >= self.limits[:, None]).sum(0, dtype=torch.uint8) > 1

    def _found(self, first: int) -> Iterator[Voxels]:
        """Those from a position on."""
        for positions, classes in self.scan.candidates(self.limits, self.background_limit, first):
            index = self._wanted(classes)
            chosen = positions[index]
            if chosen.numel() and int(chosen[0]) < first:
                index, chosen = index[chosen >= first], chosen[chosen >= first]
            yield chosen, take(classes, index)

    def _wanted(self, voxels: Float[Tensor, "classes n"]) -> Int64[Tensor, " wanted"]:
        """Index of the wanted ones of some voxels."""
        # The difference of two numbers is negative exactly if the first is the smaller: one comparison for all.
        excess = voxels.new_full((1,), -torch.inf)
        for region, limit in zip(self.regions.probabilities(voxels), self.limits, strict=True):
            excess = torch.maximum(excess, region - limit)
        wanted = excess >= 0
        if self.background_limit > -torch.inf:
            wanted |= voxels[0] < self.background_limit
        return wanted.nonzero().squeeze(1)
