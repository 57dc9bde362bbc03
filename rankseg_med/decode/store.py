"""Values of a volume that come slab by slab."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Shaped
from torch import Tensor

Store = Literal["memory", "disk"]


class SlabStore:
    """Room for a volume, filled slab by slab in any order; knows nothing of what the values mean.

    Args:
        channels: Values of a voxel.
        spatial_shape: Shape of the whole volume.
        axis: Spatial axis along which slabs follow each other.
        dtype: Type of the values.
        place: ``"memory"`` keeps them on ``device``, ``"disk"`` in a temporary file.
        folder: Folder of that file; by default the system's.
        device: Device where slabs are kept in memory.

    Attributes:
        values: ``(channels, *spatial_shape)``; those of slices that are not filled are anything.
    """

    def __init__(
        self,
        channels: int,
        spatial_shape: Sequence[int],
        axis: int,
        dtype: torch.dtype,
        *,
        place: Store,
        folder: Path | None,
        device: torch.device | str,
    ) -> None:
        self.spatial_shape = torch.Size(spatial_shape)
        self.axis = axis % len(self.spatial_shape)
        self._file = tempfile.NamedTemporaryFile(dir=folder, suffix=".levels") if place == "disk" else None  # noqa: SIM115
        shape = torch.Size((channels, *self.spatial_shape))
        if self._file is None:
            self.values: Shaped[Tensor, "channels *spatial"] = torch.empty(shape, dtype=dtype, device=device)
        else:
            _allocate(self._file.fileno(), dtype.itemsize * shape.numel(), self._file.name)
            self.values = torch.from_file(self._file.name, shared=True, size=shape.numel(), dtype=dtype).reshape(shape)
        self._filled = torch.zeros(self.spatial_shape[self.axis], dtype=torch.bool)
        self._open = True

    def check_room(self, slab: slice, shape: Sequence[int]) -> None:
        """Raise unless a slab of such a shape may be filled in.

        Raises:
            ValueError: The slab leaves the volume, has another spatial shape than it says, or overlaps what is there.
        """
        self.check_open()
        length = self.spatial_shape[self.axis]
        if slab.step not in (None, 1) or slab.start is None or slab.stop is None:
            raise ValueError(f"a slab is slice(start, stop) without a step, got {slab}")
        if not 0 <= slab.start < slab.stop <= length:
            raise ValueError(f"a slab must lie within 0 to {length} of axis {self.axis}, got {slab}")
        expected = (*self.spatial_shape[: self.axis], slab.stop - slab.start, *self.spatial_shape[self.axis + 1 :])
        if tuple(shape) != expected:
            raise ValueError(f"slab {slab.start}:{slab.stop} must have spatial shape {expected}, got {tuple(shape)}")
        self._check_free(slab.start, self._filled[slab].nonzero())

    def fill(self, slab: slice, values: Shaped[Tensor, "channels *slab"]) -> None:
        """Fill a slab for which there is room, see `check_room`."""
        self.values.narrow(self.axis + 1, slab.start, slab.stop - slab.start).copy_(values)
        self._filled[slab] = True

    def merge(self, other: SlabStore) -> None:
        """Take over the slabs of another store of the same layout.

        Raises:
            ValueError: Both hold the same slices, or one is closed.
        """
        self.check_open()
        other.check_open()
        self._check_free(0, (self._filled & other._filled).nonzero())
        slices = other._filled.nonzero().squeeze(1)
        source = other.values.index_select(self.axis + 1, slices.to(other.values.device))
        self.values.index_copy_(self.axis + 1, slices.to(self.values.device), source.to(self.values.device))
        self._filled |= other._filled

    def check_complete(self) -> None:
        """Raise unless every slice was filled.

        Raises:
            ValueError: Slices are missing; they are named.
        """
        self.check_open()
        if not bool(self._filled.all()):
            missing = (~self._filled).nonzero().squeeze(1).tolist()
            named = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise ValueError(
                f"{len(missing)} of {len(self._filled)} slices along axis {self.axis} are missing: {named}"
            )

    def taken(self) -> Shaped[Tensor, "channels *spatial"]:
        """The values, which last when the store is closed: a file's mapping would not."""
        return self.values if self._file is None else self.values.clone()

    def close(self) -> None:
        """Give the room back."""
        if self._open:
            self._open = False
            self.values = torch.empty((0,))
            if self._file is not None:
                self._file.close()

    def check_open(self) -> None:
        """Raise if the store is closed.

        Raises:
            ValueError: It is.
        """
        if not self._open:
            raise ValueError("this session is closed: it was finalized already, or left")

    def _check_free(self, start: int, taken: Tensor) -> None:
        if len(taken):
            raise ValueError(f"slice {start + int(taken[0])} along axis {self.axis} was added before")


def _allocate(file: int, size: int, name: str) -> None:
    """Make a file so large, with room for all of it: else a page that a full disk has no room for ends the process.

    Raises:
        OSError: There is not so much room.
    """
    if not hasattr(os, "posix_fallocate"):
        os.truncate(file, size)
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        raise OSError(error.errno, f"no room for {size} bytes of probabilities: {error.strerror}", name) from error
