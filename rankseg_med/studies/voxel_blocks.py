"""Voxels from a stream of bytes, a few slices at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

# A row of so many float32 fills a cache line.
_SLICES = 16
_CHUNK_BYTES = 2**20


@runtime_checkable
class ByteStream(Protocol):
    """Whatever bytes are read from."""

    def read(self, size: int, /) -> bytes:
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
