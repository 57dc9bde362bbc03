"""Slabs of probabilities in, label map out: a volume that never exists in floating point as a whole."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Int16, Int64, Shaped
from torch import Tensor

from rankseg_med.decode.blocks import Blocks, Grid
from rankseg_med.decode.decision import Decoded
from rankseg_med.decode.levels import LEVELS, level_of
from rankseg_med.decode.validation import check_layout, check_values

Store = Literal["memory", "disk"]

# Levels are kept as int16, the type that every device computes with, shifted by half their range.
_SHIFT = LEVELS // 2


class SlabSession(ABC):
    """Collects a volume slab by slab and turns it into a label map; made by a decoder's ``open``.

    Args:
        num_classes: Classes of the slabs.
        spatial_shape: Shape of the whole volume.
        axis: Spatial axis along which slabs follow each other.
        exclusive: Whether classes sum to one.
        channels: How many values a voxel are kept...
        dtype: ... and of which type.
        store: ``"memory"`` keeps them on ``device``, ``"disk"`` in a temporary file.
        folder: Folder of that file; by default the system's.
        device: Where slabs are kept in memory.
    """

    def __init__(
        self,
        num_classes: int,
        spatial_shape: Sequence[int],
        axis: int,
        *,
        exclusive: bool,
        channels: int,
        dtype: torch.dtype,
        store: Store,
        folder: Path | None,
        device: torch.device | str,
    ) -> None:
        self.num_classes = num_classes
        self.spatial_shape = torch.Size(spatial_shape)
        self.axis = axis % len(self.spatial_shape) if self.spatial_shape else 0
        self._exclusive = exclusive
        if (
            num_classes < 1 + exclusive
            or not self.spatial_shape
            or min(self.spatial_shape) < 1
            or not -len(self.spatial_shape) <= axis < len(self.spatial_shape)
        ):
            raise ValueError(
                "a session needs a foreground class, at least one voxel and an axis of the volume, "
                f"found num_classes={num_classes}, spatial_shape={tuple(spatial_shape)}, axis={axis}"
            )
        self._file = tempfile.NamedTemporaryFile(dir=folder, suffix=".levels") if store == "disk" else None  # noqa: SIM115
        shape = torch.Size((channels, *self.spatial_shape))
        if self._file is None:
            self._values: Shaped[Tensor, "channels *spatial"] = torch.empty(shape, dtype=dtype, device=device)
        else:
            self._file.truncate(dtype.itemsize * shape.numel())
            self._values = torch.from_file(self._file.name, shared=True, size=shape.numel(), dtype=dtype).reshape(shape)
        self._filled = torch.zeros(self.spatial_shape[self.axis], dtype=torch.bool)
        self._open = True

    @abstractmethod
    def _to_be_kept(self, probabilities: Float[Tensor, "classes *spatial"]) -> Shaped[Tensor, "channels *spatial"]:
        """What of a slab is kept."""

    @abstractmethod
    def _decode(self) -> Decoded:
        """Decode what was kept of the whole volume."""

    def __enter__(self) -> SlabSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, slab: slice, probabilities: Float[Tensor, "classes *spatial"]) -> None:
        """Add a slab.

        Args:
            slab: Where it lies along the session's axis, as ``slice(start, stop)``.
            probabilities: ``(classes, *slab shape)``, as `RankSEGDecoder.decode` takes them.

        Raises:
            ValueError: The slab leaves the volume, has another shape than it says, overlaps what was added before, or
                holds no probabilities; the session is as it was before.
        """
        self._check_open()
        length = self.spatial_shape[self.axis]
        if slab.step not in (None, 1) or slab.start is None or slab.stop is None:
            raise ValueError(f"a slab is slice(start, stop) without a step, found {slab}")
        if not 0 <= slab.start < slab.stop <= length:
            raise ValueError(f"a slab must lie within 0 to {length} of axis {self.axis}, found {slab}")
        check_layout(probabilities, exclusive=self._exclusive)
        expected = (self.num_classes, *self.spatial_shape)
        expected = (*expected[: self.axis + 1], slab.stop - slab.start, *expected[self.axis + 2 :])
        if tuple(probabilities.shape) != expected:
            raise ValueError(
                f"slab {slab.start}:{slab.stop} must have shape {expected}, found {tuple(probabilities.shape)}"
            )
        self._check_free(slab.start, self._filled[slab].nonzero())
        check_values(probabilities, exclusive=self._exclusive)
        target = self._values.narrow(self.axis + 1, slab.start, slab.stop - slab.start)
        target.copy_(self._to_be_kept(probabilities))
        self._filled[slab] = True

    def merge(self, other: SlabSession) -> None:
        """Take over the slabs of another session of the same volume, such as another worker's.

        Raises:
            ValueError: The volumes differ, or both hold the same slices.
        """
        self._check_open()
        other._check_open()
        mine, theirs = ((type(s).__name__, s.num_classes, s.spatial_shape, s.axis, s._exclusive) for s in (self, other))
        if mine != theirs:
            raise ValueError(f"sessions to be merged must be of the same volume, found {mine} and {theirs}")
        self._check_free(0, (self._filled & other._filled).nonzero())
        slices = other._filled.nonzero().squeeze(1)
        source = other._values.index_select(self.axis + 1, slices.to(other._values.device))
        self._values.index_copy_(self.axis + 1, slices.to(self._values.device), source.to(self._values.device))
        self._filled |= other._filled

    def finalize(self) -> Decoded:
        """Decode the volume and close the session.

        Raises:
            ValueError: Slices are missing; they are named.
        """
        self.check_complete()
        decoded = self._decode()
        self.close()
        return decoded

    def check_complete(self) -> None:
        """Raise unless every slice was added.

        Raises:
            ValueError: Slices are missing; they are named.
        """
        self._check_open()
        if not bool(self._filled.all()):
            missing = (~self._filled).nonzero().squeeze(1).tolist()
            named = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise ValueError(
                f"{len(missing)} of {len(self._filled)} slices along axis {self.axis} are missing: {named}"
            )

    def close(self) -> None:
        """Give the store back; a session left without `finalize` loses what it holds."""
        if self._open:
            self._open = False
            self._values = torch.empty((0,))
            if self._file is not None:
                self._file.close()

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("this session is closed: it was finalized already, or left")

    def _check_free(self, start: int, taken: Tensor) -> None:
        if len(taken):
            raise ValueError(f"slice {start + int(taken[0])} along axis {self.axis} was added before")


@runtime_checkable
class BlocksDecoder(Protocol):
    """What decodes the volumes that a `DecodeSession` holds.

    Attributes:
        mode: ``"multiclass"`` or ``"multilabel"``, as of `RankSEGDecoder`.
    """

    @property
    def mode(self) -> Literal["multiclass", "multilabel"]: ...  # noqa: D102

    def decode_blocks(self, volumes: Sequence[Blocks], spatial_shape: torch.Size) -> Decoded:
        """Decode volumes that are read in blocks."""
        ...


class DecodeSession(SlabSession):
    """Collects a volume slab by slab and decodes it; made by `RankSEGDecoder.open`.

    Foreground probabilities are kept as 16-bit levels, two bytes a voxel and class, in memory or in a file. The label
    map is that of a whole-volume call on the rounded probabilities: they are off by at most 1 / 131070, and the
    background by that times the foreground classes.

    Example:
        >>> import torch
        >>> from rankseg_med.decode import RankSEGDecoder
        >>> probabilities = torch.softmax(torch.randn(3, 40, 16, 16), 0)
        >>> with RankSEGDecoder("dice").open(3, (40, 16, 16)) as session:
        ...     session.update(slice(20, 40), probabilities[:, 20:])
        ...     session.update(slice(0, 20), probabilities[:, :20])
        ...     label_map = session.finalize().label_map
        >>> label_map.shape
        torch.Size([40, 16, 16])
    """

    def __init__(
        self,
        decoder: BlocksDecoder,
        num_classes: int,
        spatial_shape: Sequence[int],
        *,
        axis: int = 0,
        store: Store = "memory",
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.decoder = decoder
        exclusive = decoder.mode == "multiclass"
        super().__init__(
            num_classes,
            spatial_shape,
            axis,
            exclusive=exclusive,
            channels=num_classes - exclusive,
            dtype=torch.int16,
            store=store,
            folder=folder,
            device=device,
        )

    def volumes(self) -> list[LevelBlocks]:
        """The volume as decoders read it: one of exclusive classes, or one per independent channel."""
        channels = self._values.flatten(1)
        return [LevelBlocks(channels)] if self._exclusive else [LevelBlocks(channel[None]) for channel in channels]

    def _to_be_kept(self, probabilities: Float[Tensor, "classes *spatial"]) -> Int[Tensor, "channels *spatial"]:
        foreground = probabilities[1:] if self._exclusive else probabilities
        return level_of(foreground.float()) - _SHIFT

    def _decode(self) -> Decoded:
        return self.decoder.decode_blocks(self.volumes(), self.spatial_shape)


class LevelBlocks(Blocks):
    """Blocks of stored levels ``(foreground classes, voxels)``, background being what they leave."""

    def __init__(self, levels: Int16[Tensor, "channels voxels"]) -> None:
        self.levels = levels
        self.num_classes, self.num_voxels = levels.shape[0] + 1, levels.shape[1]
        self.dtype = torch.float32
        self.device = levels.device

    def tiles(self, grid: Grid, which: slice | Int64[Tensor, " some"]) -> Float[Tensor, "classes some tile"]:
        """Probabilities of some tiles."""
        levels = grid.of(self.levels, which)
        probabilities = self.buffer(*levels.shape[1:])
        foreground = probabilities[1:].copy_(levels).add_(_SHIFT).div_(LEVELS - 1)
        torch.sum(foreground, 0, out=probabilities[0])
        probabilities[0].neg_().add_(1).clamp_(min=0)
        return probabilities
