"""Voxels from bytes: a few slices at a time from a stream, or slab by slab in whatever order."""

from __future__ import annotations

import errno
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rankseg_med.studies.errors import StudyError

# A row of so many float32 fills a cache line.
_SLICES = 16
_CHUNK_BYTES = 2**20


@runtime_checkable
class ByteStream(Protocol):
    """Whatever bytes are read from."""

    def read(self, size: int = ..., /) -> bytes:
        """The next bytes, as many as asked for unless the stream ends."""


def read_blocks(stream: ByteStream, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Iterator[np.ndarray]:
    """Blocks `(X, Y, slices)` of a volume that is stored with X fastest, and then the stream to its end.

    gzip compares its checksum only at the end of the file.

    Raises:
        OSError: if the stream ends early.
    """
    width, height, depth = shape
    for start in range(0, depth, _SLICES):
        block = (width, height, min(_SLICES, depth - start))
        size = math.prod(block) * dtype.itemsize
        data = stream.read(size)
        if len(data) < size:
            raise OSError(f"Expected {size} more bytes, got {len(data)}")
        yield np.frombuffer(data, dtype).reshape(block, order="F")
    while stream.read(_CHUNK_BYTES):
        pass


@dataclass(frozen=True)
class Slabs:
    """The channels of one file, ready to be read.

    Attributes:
        channels: how many there are.
        axis: spatial axis (0 to 2) along which slabs follow each other: that in which a slab lies together in the file.
        read: from a slice of that axis to float32 values `(channels, X, Y, Z)`.
    """

    channels: int
    axis: int
    read: Callable[[slice], np.ndarray]


@contextmanager
def unpacked(stream: ByteStream, size: int, folder: Path | None) -> Iterator[BufferedRandom]:
    """So many bytes of a compressed stream in a file without a name, which is gone with the context or the process.

    What follows in the stream is read too, for the checksum at its end. The folder is by default the system's.

    Raises:
        StudyError: if there is no room.
        EOFError: if the stream ends early.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        left = size
        try:
            while left and (chunk := stream.read(min(_CHUNK_BYTES, left))):
                file.write(chunk)
                left -= len(chunk)
            file.flush()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            place = folder or tempfile.gettempdir()
            raise StudyError(f"{place}: no room to unpack {size} bytes; set store_folder to a larger disk") from error
        if left:
            raise EOFError(f"{size} bytes expected, {size - left} found")
        while stream.read(_CHUNK_BYTES):
            pass
        file.seek(0)
        yield file
