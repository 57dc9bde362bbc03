"""Sigmoid channels that stand for regions (BraTS, KiTS): what each means, and the label map of their masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from rankseg_med.studies.errors import StudyError


@dataclass(frozen=True)
class RegionChannels:
    """The regions of a network's channels, and the order in which their masks make a label map.

    Attributes:
        regions: The label set of each channel, such as ``((1, 2, 3), (2, 3), (3,))`` for whole tumour, core, enhancing.
        painted: Channel and label, in painting order; a later one covers an earlier one.
    """

    regions: tuple[tuple[int, ...], ...]
    painted: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, regions: Iterable[Sequence[int]]) -> RegionChannels:
        """Painted from large to small, each with the one label that no smaller region in it has.

        Raises:
            StudyError: A region has none or several such labels, as ``(1, 2, 3)`` beside ``(3,)``: a voxel in the first
                only may be of label 1 or 2.
        """
        sets = [frozenset(region) for region in regions]
        painted: list[tuple[int, int]] = []
        for channel in sorted(range(len(sets)), key=lambda channel: -len(sets[channel])):
            inner = frozenset[int]().union(*(other for other in sets if other < sets[channel]))
            own = sets[channel] - inner
            if len(own) != 1 or not all(1 <= label <= 255 for label in own) or sets.count(sets[channel]) > 1:
                raise StudyError(
                    "every region must have exactly one label, 1 to 255, that no region within it has, as in "
                    f"whole=1+2+3,core=2+3,enhancing=3; {sorted(sets[channel])} has {sorted(own)}"
                )
            painted += [(channel, label) for label in own]
        return cls(tuple(tuple(sorted(region)) for region in sets), tuple(painted))

    def label_map(self, masks: UInt8[Tensor, "channels *spatial"]) -> UInt8[Tensor, "*spatial"]:
        """Label map of the channels' masks of 0 and 1; no channel at all is background."""
        labels = torch.zeros_like(masks[0])
        for channel, label in self.painted:
            labels.masked_fill_(masks[channel].bool(), label)
        return labels
