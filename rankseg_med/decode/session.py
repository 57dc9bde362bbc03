"""Slabs of probabilities in, label map out: a volume that never exists in floating point as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Int16, Int64, Shaped
from torch import Tensor

from rankseg_med.decode.blocks import Blocks, TileSpan
from rankseg_med.decode.decision import Decoded
from rankseg_med.decode.levels import LEVELS, level_of
from rankseg_med.decode.store import SlabStore, Store
from rankseg_med.decode.validation import check_layout, check_values

# Levels are kept as int16, the type that every device computes with, shifted by half their range.
_SHIFT = LEVELS // 2


class SlabSession:
    """Collects a volume slab by slab and turns it into a label map; made by a decoder's ``open``.

    Args:
        num_classes: Classes of the slabs.
        spatial_shape: Shape of the whole volume.
        axis: Spatial axis along which slabs follow each other.
        exclusive: Whether classes sum to one.
        channels: How many values of a voxel are kept...
        dtype: ... and of which type.
        keep: Probabilities ``(classes, *slab)`` to what is kept of them, ``(channels, *slab)``.
        finish: The store, full, to the decoded volume.
        store: ``"memory"`` keeps values on ``device``, ``"disk"`` in a temporary file.
        folder: Folder of that file; by default the system's.
        device: Device where slabs are kept in memory.

    Raises:
        ValueError: No foreground class, no voxel, or no such axis.
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
        keep: Callable[[Float[Tensor, "classes *slab"]], Shaped[Tensor, "channels *slab"]],
        finish: Callable[[SlabStore], Decoded],
        store: Store,
        folder: Path | None,
        device: torch.device | str,
    ) -> None:
        if (
            num_classes < 1 + exclusive
            or not spatial_shape
            or min(spatial_shape) < 1
            or not -len(spatial_shape) <= axis < len(spatial_shape)
        ):
            raise ValueError(
                "a session needs a foreground class, at least one voxel and an axis of the volume, "
                f"got num_classes={num_classes}, spatial_shape={tuple(spatial_shape)}, axis={axis}"
            )
        self.num_classes = num_classes
        self.exclusive = exclusive
        self.store = SlabStore(channels, spatial_shape, axis, dtype, place=store, folder=folder, device=device)
        self._keep = keep
        self._finish = finish

    @property
    def spatial_shape(self) -> torch.Size:
        """Shape of the whole volume."""
        return self.store.spatial_shape

    @property
    def axis(self) -> int:
        """Spatial axis along which slabs follow each other, from 0."""
        return self.store.axis

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
        self.store.check_open()
        check_layout(probabilities, exclusive=self.exclusive)
        if len(probabilities) != self.num_classes:
            raise ValueError(f"a slab must have {self.num_classes} classes, got shape {tuple(probabilities.shape)}")
        self.store.check_room(slab, probabilities.shape[1:])
        check_values(probabilities, exclusive=self.exclusive)
        self.store.fill(slab, self._keep(probabilities))

    def merge(self, other: SlabSession) -> None:
        """Take over the slabs of another session of the same volume, such as another worker's.

        Raises:
            ValueError: The volumes differ, or both hold the same slices.
        """
        mine, theirs = (
            (s.num_classes, s.spatial_shape, s.axis, s.exclusive, s.store.values.dtype) for s in (self, other)
        )
        if mine != theirs:
            raise ValueError(f"sessions to be merged must be of the same volume, got {mine} and {theirs}")
        self.store.merge(other.store)

    def finalize(self) -> Decoded:
        """Decode the volume and close the session.

        Raises:
            ValueError: Slices are missing; they are named.
        """
        self.check_complete()
        decoded = self._finish(self.store)
        self.close()
        return decoded

    def check_complete(self) -> None:
        """Raise unless every slice was added.

        Raises:
            ValueError: Slices are missing; they are named.
        """
        self.store.check_complete()

    def close(self) -> None:
        """Give the store back; a session left without `finalize` loses what it holds."""
        self.store.close()


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

    Examples:
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
            keep=partial(_levels, exclusive=exclusive),
            finish=partial(_decoded, decoder),
            store=store,
            folder=folder,
            device=device,
        )

    def foreground(self) -> Float[Tensor, "channels *spatial"]:
        """Probabilities of all classes but the background, or of every independent channel, in main memory.

        Raises:
            ValueError: Slices are missing; they are named.
        """
        self.check_complete()
        return self.store.values.cpu().float().add_(_SHIFT).div_(LEVELS - 1)

    def volumes(self) -> list[LevelBlocks]:
        """The volume as decoders read it: one of exclusive classes, or one per independent channel."""
        return _volumes(self.store, exclusive=self.exclusive)


# Functions of their own, so that sessions travel to other processes.
def _levels(probabilities: Float[Tensor, "classes *slab"], *, exclusive: bool) -> Int[Tensor, "channels *slab"]:
    return level_of(probabilities[int(exclusive) :].float()) - _SHIFT


def _decoded(decoder: BlocksDecoder, store: SlabStore) -> Decoded:
    return decoder.decode_blocks(_volumes(store, exclusive=decoder.mode == "multiclass"), store.spatial_shape)


def _volumes(store: SlabStore, *, exclusive: bool) -> list[LevelBlocks]:
    channels = store.values.flatten(1)
    return [LevelBlocks(channels)] if exclusive else [LevelBlocks(channel[None]) for channel in channels]


class LevelBlocks(Blocks):
    """Blocks of stored levels ``(foreground classes, voxels)``, background being what they leave."""

    def __init__(self, levels: Int16[Tensor, "channels voxels"]) -> None:
        self.levels = levels
        self.num_classes, self.num_voxels = levels.shape[0] + 1, levels.shape[1]
        self.dtype = torch.float32
        self.device = levels.device

    def tiles(self, span: TileSpan, which: slice | Int64[Tensor, " some"]) -> Float[Tensor, "classes some tile"]:
        """Probabilities of some tiles."""
        levels = span.of(self.levels, which)
        probabilities = self.buffer(*levels.shape[1:])
        foreground = probabilities[1:].copy_(levels).add_(_SHIFT).div_(LEVELS - 1)
        torch.sum(foreground, 0, out=probabilities[0])
        probabilities[0].neg_().add_(1).clamp_(min=0)
        return probabilities
