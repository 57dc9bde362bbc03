"""Decoders that give every voxel its label from its own probabilities alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rankseg_med.decode.decision import Decoded
from rankseg_med.decode.rules import highest
from rankseg_med.decode.session import SlabSession
from rankseg_med.decode.store import SlabStore, Store
from rankseg_med.decode.validation import check_layout, check_values
from rankseg_med.decode.workers import in_order, on_workers

_BLOCK_VOXELS = 1 << 20


@dataclass(frozen=True)
class PointwiseDecoder(ABC):
    """A rule for voxels one by one: there is nothing to decide of a volume, and a session keeps labels alone."""

    exclusive: ClassVar[bool] = True
    """Whether classes exclude each other; else each channel gets a mask of its own."""

    @abstractmethod
    def rule(self, probabilities: Float[Tensor, "classes n"]) -> UInt8[Tensor, "..."]:
        """Labels ``(n)`` of voxels, or masks ``(classes, n)`` of independent channels."""

    def __call__(self, probabilities: Float[Tensor, "classes *spatial"]) -> UInt8[Tensor, "..."]:
        """Label map of a probability volume; see `decode`."""
        return self.decode(probabilities).label_map

    @torch.no_grad()
    def decode(self, probabilities: Float[Tensor, "classes *spatial"]) -> Decoded:
        """Decode a probability volume; input and errors as for `RankSEGDecoder`. Decides nothing."""
        check_layout(probabilities, exclusive=self.exclusive)
        check_values(probabilities, exclusive=self.exclusive)
        blocks = torch.split(probabilities.flatten(1), _BLOCK_VOXELS, dim=1)
        labels = on_workers(lambda: torch.cat([*in_order(self.rule, blocks)], -1), probabilities.device, len(blocks))
        return Decoded(labels.reshape((*labels.shape[:-1], *probabilities.shape[1:])), ())

    def open(
        self,
        num_classes: int,
        spatial_shape: Sequence[int],
        *,
        axis: int = 0,
        store: Store = "memory",
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> SlabSession:
        """Start a session that takes the volume slab by slab; as `RankSEGDecoder.open`.

        It keeps labels: a byte a voxel, or a voxel and independent channel.
        """
        return SlabSession(
            num_classes,
            spatial_shape,
            axis,
            exclusive=self.exclusive,
            channels=1 if self.exclusive else num_classes,
            dtype=torch.uint8,
            keep=self._labels,
            finish=self._finish,
            store=store,
            folder=folder,
            device=device,
        )

    def _labels(self, slab: Float[Tensor, "classes *slab"]) -> UInt8[Tensor, "channels *slab"]:
        return self.rule(slab.flatten(1)).reshape(-1, *slab.shape[1:])

    def _finish(self, store: SlabStore) -> Decoded:
        labels = store.taken()
        return Decoded(labels[0] if self.exclusive else labels, ())


@dataclass(frozen=True)
class ArgmaxDecoder(PointwiseDecoder):
    """The most probable class of every voxel: highest expected voxel accuracy. Ties go to the lowest class."""

    def rule(self, probabilities: Float[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
        """Labels of voxels."""
        return highest(probabilities)


@dataclass(frozen=True)
class AtHalfDecoder(PointwiseDecoder):
    """Every channel where it is more probable than not: what argmax is to exclusive classes. One half is outside."""

    exclusive = False

    def rule(self, probabilities: Float[Tensor, "channels n"]) -> UInt8[Tensor, "channels n"]:
        """Masks of voxels."""
        return (probabilities > 0.5).to(torch.uint8)


@dataclass(frozen=True)
class ThresholdDecoder(PointwiseDecoder):
    """The most probable foreground class of every voxel where it reaches a threshold, background elsewhere.

    What LA and pancreas experiments do at 0.5. Ties go to the lowest class.

    Args:
        threshold: Threshold in (0, 1].
    """

    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {self.threshold}")

    def rule(self, probabilities: Float[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
        """Labels of voxels."""
        best, foreground = probabilities[1:].max(0)
        return torch.where(best >= self.threshold, foreground + 1, 0).to(torch.uint8)
