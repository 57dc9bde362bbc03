"""The voxels that could be labelled: few, once it is known what a label takes."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankseg_med.decode.blocks import Voxels, at_least, compared, how_many, joined, places, take
from rankseg_med.decode.scan import Candidates, Scan
from rankseg_med.decode.settled import FoundSettled, Settled
from rankseg_med.decode.workers import in_order

Result = TypeVar("Result")

# The voxels are kept while they take at most this share of the volume's memory in single precision; what does not fit
# is read again.
_KEPT_SHARE = 0.05


class WantedVoxels:
    """Voxels with a region at its limit or above, or with background below its own, but for those that are settled.

    The first iteration finds them, by the scan's peaks first; later ones take what was kept.

    Args:
        scan: The volume.
        limits: ``(regions,)`` lowest probability of each region that counts.
        background_limit: Lowest probability of background that alone makes a voxel uninteresting.
        settled: Takes and leaves out the voxels that are settled; None leaves out none.
    """

    def __init__(
        self,
        scan: Scan,
        limits: Float[Tensor, " regions"],
        background_limit: float = -torch.inf,
        settled: Settled | None = None,
    ) -> None:
        self.scan = scan
        self.regions = scan.regions
        self.limits = limits.to(scan.blocks.dtype)
        self.background_limit = background_limit
        self.settled = settled
        room = _Room(scan.blocks.room(_KEPT_SHARE))
        self._parts = [_Part(self, some, room) for some in scan.candidates(self.limits, background_limit)]

    def __iter__(self) -> Iterator[Voxels]:
        """Positions in the flat volume, ascending, and class probabilities, a batch at a time."""
        for part in self._parts:
            yield from part

    def visit(self, work: Callable[[Iterable[Voxels]], Result]) -> Iterator[Result]:
        """Results of some work on each part of the voxels, in their order; done side by side inside `on_workers`."""

        def visit_part(part: _Part) -> tuple[Result, list[FoundSettled]]:
            return work(part), part.newly_settled()

        for result, found in in_order(visit_part, self._parts):
            if self.settled is not None:
                self.settled.add(found)
            yield result

    def contested(self, region: Float[Tensor, "regions n"]) -> Bool[Tensor, " n"]:
        """Which voxels two regions or more could want, from their region probabilities."""
        return compared(operator.gt, how_many(at_least(region, self.limits)), 1)


class _Part:
    """The wanted ones of some voxels."""

    def __init__(self, wanted: WantedVoxels, candidates: Candidates, room: _Room) -> None:
        self._wanted, self._candidates, self._room = wanted, candidates, room
        self._kept: list[Voxels] | None = None
        self._settled: list[FoundSettled] | None = []

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

    def newly_settled(self) -> list[FoundSettled]:
        """What the first iteration found settled; nothing when it is asked again."""
        found, self._settled = self._settled, None
        return found or []

    def _find(self) -> Iterator[Voxels]:
        wanted = self._wanted
        for where, classes in self._candidates:
            reaching = how_many(at_least(wanted.regions.probabilities(classes), wanted.limits))
            is_wanted = compared(operator.gt, reaching, 0)
            if wanted.background_limit > -torch.inf:
                is_wanted |= compared(operator.lt, classes[0], wanted.background_limit)
            if wanted.settled is not None:
                labels = wanted.settled.labels(classes, reaching)
                if self._settled is not None:
                    self._settled.append(wanted.settled.paint(where, classes, labels))
                is_wanted &= compared(operator.eq, labels, 0)
            index = places(is_wanted)
            yield where.positions(index), take(classes, index)


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
