"""Batches of labelled and of unlabelled images, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Stream(Protocol):
    """Anything that gives batches and knows how many, such as a `DataLoader`."""

    def __len__(self) -> int:
        """How many batches there are."""

    def __iter__(self) -> Iterator[Any]:
        """One after the other."""


class TwoStreams:
    """Pairs of a labelled and an unlabelled batch, as the semi-supervised methods take them.

    Args:
        labelled: Gives batches with ``image`` and ``label``.
        unlabelled: Gives batches with ``image``; as many. Samplers with replacement make any two data sets so.

    Raises:
        ValueError: One has more batches than the other.
    """

    def __init__(self, labelled: Stream, unlabelled: Stream) -> None:
        if len(labelled) != len(unlabelled):
            raise ValueError(
                f"both streams must have as many batches, got {len(labelled)} labelled and {len(unlabelled)} "
                "unlabelled; give their samplers num_samples = batches * batch size"
            )
        self.labelled = labelled
        self.unlabelled = unlabelled

    def __len__(self) -> int:
        return len(self.labelled)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for labelled, unlabelled in zip(self.labelled, self.unlabelled, strict=True):
            yield {"labelled": labelled, "unlabelled": unlabelled}
