"""What streaming hands on, and the sessions that take it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from rankseg_med.calibration import Calibration
from rankseg_med.decode import Decoder, SlabSession, Store

_BYTES_PER_LEVEL = 2


@dataclass(frozen=True)
class Slab:
    """Finished values of some slices of a volume.

    Attributes:
        start: First slice along the streaming axis.
        stop: One beyond the last.
        probabilities: ``(classes, *spatial)``, ``stop - start`` slices along that axis.
    """

    start: int
    stop: int
    probabilities: Float[Tensor, "classes *spatial"]


def volume_of(slabs: Iterable[Slab], axis: int, shape: Sequence[int]) -> Float[Tensor, "classes *spatial"]:
    """All slabs of a volume put together: float32, in main memory.

    Args:
        slabs: Slabs that cover the volume, at least one; consumed.
        axis: Streaming axis, classes not counted.
        shape: Shape of the volume.
    """
    slabs = iter(slabs)
    first = next(slabs)
    values = torch.empty((len(first.probabilities), *shape))
    for slab in chain([first], slabs):
        values.narrow(axis + 1, slab.start, slab.stop - slab.start).copy_(slab.probabilities)
    return values


@dataclass(frozen=True)
class Waiting:
    """Where probabilities wait to be decoded, and what becomes of them on the way.

    Attributes:
        decoder: Decoder whose sessions take them.
        calibration: Calibration of what is decoded, or None.
        store: Place: ``"memory"``, or ``"disk"`` for volumes that memory does not hold.
        folder: Folder of the temporary file on disk; by default the system's.
    """

    decoder: Decoder
    calibration: Calibration | None = None
    store: Store = "memory"
    folder: Path | None = None

    def sessions(
        self, streams: Iterable[tuple[int, Iterator[Slab]]], num_classes: int, shape: Sequence[int], *, count: int
    ) -> tuple[SlabSession, ...]:
        """A filled session for each stream.

        What is kept of the probabilities stays on the device that they come from, where there is room, and is decoded
        there; else it waits in main memory.

        Args:
            streams: Axis and slabs of each; consumed one after the other.
            num_classes: Background included; of independent channels their number.
            shape: Shape of the volume.
            count: Number of streams.
        """
        sessions = list[SlabSession]()
        device: torch.device | None = None
        for axis, slabs in streams:
            first = next(slabs)
            device = device or roomy_device(first.probabilities.device, count * num_classes * math.prod(shape))
            session = self.decoder.open(
                num_classes, shape, axis=axis, store=self.store, folder=self.folder, device=device
            )
            sessions.append(session)
            for slab in chain([first], slabs):
                values = slab.probabilities
                if self.calibration is not None:
                    values = self.calibration.probabilities(values)
                session.update(slice(slab.start, slab.stop), values)
        return tuple(sessions)


def roomy_device(device: torch.device, values: int) -> torch.device:
    """Where sessions may keep so many values: on the device they come from, or in main memory where half of what is
    free there is less.
    """
    if device.type == "cuda" and _BYTES_PER_LEVEL * values <= torch.cuda.mem_get_info(device)[0] // 2:
        return device
    return torch.device("cpu")
