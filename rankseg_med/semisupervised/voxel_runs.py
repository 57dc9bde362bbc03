"""A probability volume, however it is stored, from its first voxel to its last."""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from rankseg_med.decode import Blocks


def voxel_runs(blocks: Blocks) -> Iterator[tuple[slice, Float[Tensor, "classes n"]]]:
    """The whole volume, run by run.

    Args:
        blocks: Blocks of a tensor or of a session.

    Yields:
        Where voxels lie in the flat volume, and their class probabilities, which last until the next run.
    """
    for span in blocks.spans():
        for run in blocks.runs(span):
            start = span.start + run.start * span.tile
            probabilities = blocks.tiles(span, run).flatten(1)
            yield slice(start, start + probabilities.shape[1]), probabilities
