"""The voxels that could be labelled: few, once it is known what a label takes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rankseg_med.decode.blocks import Voxels, joined, places, take
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

    Attributes:
        parts: The same voxels, part by part in their order; several may be iterated side by side.
    """

    def __init__(self, scan: Scan, limits: Float[Tensor, " regions"], background_limit: float = -torch.inf) -> None:
        self.scan = scan
        self.regions = scan.regions
        self.limits = limits.to(scan.blocks.dtype)
        self.background_limit = background_limit
        room = _Room(scan.blocks.room(_KEPT_SHARE))
        self.parts = [_Part(self, some, room) for some in scan.candidates(self.limits, background_limit)]

    def __iter__(self) -> Iterator[Voxels]:
        """Positions in the flat volume, ascending, and class probabilities, a batch at a time."""
        for part in self.parts:
            yield from part

    def contested(self, region: Float[Tensor, "regions n"]) -> Bool[Tensor, " n"]:
        """Which voxels two regions or more could want, from their region probabilities."""
        return (region >= self.limits[:, None]).sum(0, dtype=torch.uint8) > 1

    def among(self, classes: Float[Tensor, "classes n"]) -> Int64[Tensor, " wanted"]:
        """Index of the wanted ones of some voxels."""
        # The difference of two numbers is negative exactly if the first is the smaller: one comparison for all.
        excess = classes.new_full((1,), -torch.inf)
        for region, limit in zip(self.regions.probabilities(classes), self.limits, strict=True):
            excess = torch.maximum(excess, region - limit)
        wanted = excess >= 0
        if self.background_limit > -torch.inf:
            wanted |= classes[0] < self.background_limit
        return places(wanted)


class _Part:
    """The wanted ones of some voxels."""

    def __init__(self, wanted: WantedVoxels, candidates: Iterable[Voxels], room: _Room) -> None:
        self._wanted, self._candidates, self._room = wanted, candidates, room
        self._kept: list[Voxels] | None = None

    def __iter__(self) -> Iterator[Voxels]:
        if self._kept is not None:
            yield from self._kept
            return
        found: list[Voxels] = []
        fits = True
        for batch in joined(self._find()):
            fits = fits and self._room.take(sum(part.nbytes for part in batch))
            found = [*found, batch] if fits else []
            yield batch
        self._kept = found if fits else None

    def _find(self) -> Iterator[Voxels]:
        for positions, classes in self._candidates:
            index = self._wanted.among(classes)
            yield torch.index_select(positions, 0, index), take(classes, index)


class _Room:
    """Memory that parts share; each takes of it while there is some."""

    def __init__(self, nbytes: int) -> None:
        self._left = nbytes
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        """Whether there was enough left; if not, none is taken from now on."""
        with self._lock:
            self._left -= nbytes
            return self._left >= 0
