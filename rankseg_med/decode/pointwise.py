"""Decoders that give every voxel its label from its own probabilities alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rankseg_med.decode.assignment.rules import highest
from rankseg_med.decode.decision import Decoded
from rankseg_med.decode.session import SlabSession, Store
from rankseg_med.decode.validation import check_layout, check_values
from rankseg_med.decode.workers import in_order, on_workers

_BLOCK_VOXELS = 1 << 20


class PointwiseDecoder(ABC):
    """A rule for voxels one by one: there is nothing to decide of a volume, and a session keeps labels alone."""

    exclusive: ClassVar[bool] = True
    """Whether classes exclude each other; else each channel gets a mask of its own."""

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

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
    ) -> PointwiseSession:
        """Start a session that takes the volume slab by slab; as `RankSEGDecoder.open`."""
        return PointwiseSession(self, num_classes, spatial_shape, axis=axis, store=store, folder=folder, device=device)


class PointwiseSession(SlabSession):
    """Collects labels slab by slab, a byte a voxel (and independent channel); made by `PointwiseDecoder.open`."""

    def __init__(
        self,
        decoder: PointwiseDecoder,
        num_classes: int,
        spatial_shape: Sequence[int],
        *,
        axis: int = 0,
        store: Store = "memory",
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._decoder = decoder
        super().__init__(
            num_classes,
            spatial_shape,
            axis,
            exclusive=decoder.exclusive,
            channels=1 if decoder.exclusive else num_classes,
            dtype=torch.uint8,
            store=store,
            folder=folder,
            device=device,
        )

    def _to_be_kept(self, probabilities: Float[Tensor, "classes *spatial"]) -> UInt8[Tensor, "channels *spatial"]:
        return self._decoder.rule(probabilities.flatten(1)).reshape(-1, *probabilities.shape[1:])

    def _decode(self) -> Decoded:
        # A file's mapping ends with the session; the label map goes on.
        labels = self._values if self._file is None else self._values.clone()
        return Decoded(labels[0] if self._decoder.exclusive else labels, ())


class ArgmaxDecoder(PointwiseDecoder):
    """The most probable class of every voxel: highest expected voxel accuracy. Ties go to the lowest class."""

    def rule(self, probabilities: Float[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
        """Labels of voxels."""
        return highest(probabilities)


class AtHalfDecoder(PointwiseDecoder):
    """Every channel where it is more probable than not: what argmax is to exclusive classes. One half is outside."""

    exclusive = False

    def rule(self, probabilities: Float[Tensor, "channels n"]) -> UInt8[Tensor, "channels n"]:
        """Masks of voxels."""
        return (probabilities > 0.5).to(torch.uint8)


class ThresholdDecoder(PointwiseDecoder):
    """The most probable foreground class of every voxel where it reaches a threshold, background elsewhere.

    What LA and pancreas experiments do at 0.5. Ties go to the lowest class.

    Args:
        threshold: Threshold in (0, 1].
    """

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], found {threshold}")
        self.threshold = threshold

    def rule(self, probabilities: Float[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
        """Labels of voxels."""
        best, foreground = probabilities[1:].max(0)
        return torch.where(best >= self.threshold, foreground + 1, 0).to(torch.uint8)
