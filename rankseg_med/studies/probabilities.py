"""Stored probabilities of a study, read slab by slab, so that a volume never lies in memory as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import Grid, compare_grids
from rankseg_med.studies.readers import open_channels, read_grid
from rankseg_med.studies.readers.arrays import Axes
from rankseg_med.studies.readers.blocks import Slabs

_SLAB_BYTES = 1 << 25


@dataclass(frozen=True)
class ProbabilityStudy:
    """Stored probabilities of one study.

    Attributes:
        case_id: Names the study's outputs; unique within a listing and safe as a file name.
        files: One file with all channels, or one 3-D NIfTI file per channel.
        grid: File on whose grid they lie: the image, a label map of it, or a NIfTI file of probabilities itself. None
            where there is none.
        axes: Order of the axes of an array; NIfTI says itself.
        label: The reference label map, where a data list of the images names one; it is not read.
        image: The image, where images were given; it is the grid too. None where the grid is only known to be one.
    """

    case_id: str
    files: tuple[Path, ...]
    grid: Path | None
    axes: Axes
    label: Path | None = None
    image: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the study's label map depends on."""
        return tuple(dict.fromkeys([*self.files, *([self.grid] if self.grid else [])]))

    @property
    def read_as(self) -> str:
        """How the files are read, where that is not as their names have it: part of the study's fingerprint."""
        return "" if self.axes == axes_by_name(self.files[0]) else f"axes {self.axes}"


def axes_by_name(file: Path) -> Axes:
    """Order of the axes of an array, where nobody says it: ``.npz`` is nnU-Net's."""
    return "CZYX" if file.suffix.lower() == ".npz" else "CXYZ"


@dataclass(frozen=True)
class ProbabilityVolume:
    """Probabilities on a study's grid.

    Attributes:
        shape: ``(channels, X, Y, Z)``.
        axis: Spatial axis (0 to 2) along which slabs follow each other: that in which a slab lies together in the file.
    """

    shape: tuple[int, int, int, int]
    axis: int
    _parts: tuple[Slabs, ...]

    @classmethod
    def in_memory(cls, probabilities: Float32[Tensor, "channels X Y Z"]) -> ProbabilityVolume:
        """Those of a tensor in main memory, without copying it."""
        channels, x, y, z = probabilities.shape
        part = Slabs(channels, 0, lambda slab: probabilities[:, slab].numpy())
        return cls((channels, x, y, z), 0, (part,))

    def slabs(self) -> Iterator[tuple[slice, Float32[Tensor, "channels X Y Z"]]]:
        """Where each slab lies along the axis, and its values as they are stored, some 30 MB at a time."""
        length = self.shape[1 + self.axis]
        step = max(1, _SLAB_BYTES * length // (4 * math.prod(self.shape)))
        for start in range(0, length, step):
            slab = slice(start, min(start + step, length))
            channels = [torch.from_numpy(part.read(slab)) for part in self._parts]
            yield slab, channels[0] if len(channels) == 1 else torch.cat(channels)


@contextmanager
def open_probabilities(study: ProbabilityStudy, *, folder: Path | None = None) -> Iterator[ProbabilityVolume]:
    """Open a study's probabilities; read them while the context lasts.

    A compressed file is unpacked once, to a temporary file without a name, which is gone with the context or the
    process. Pickled arrays are refused, nothing is ever unpickled.

    Args:
        study: Where they are.
        folder: Folder of the temporary file; by default the system's.

    Raises:
        StudyError: A file is missing, damaged, of a wrong type, or has not the shape of its grid.
        GridError: NIfTI files of probabilities and the grid lie elsewhere.
    """
    grid = grid_of(study)
    with ExitStack() as stack:
        parts = []
        for path in study.files:
            reader = open_channels(path, study.axes, grid)
            compare_grids(path, reader.grid, study.grid or path, grid)
            parts.append(stack.enter_context(reader.slabs(folder)))
        yield ProbabilityVolume((sum(part.channels for part in parts), *grid.shape), parts[0].axis, tuple(parts))


def grid_of(study: ProbabilityStudy) -> Grid:
    """The grid of a study; only a header is read.

    Raises:
        StudyError: There is none, or its header is unusable.
    """
    if study.grid is None:
        raise StudyError(f"{study.files[0]}: there is no NIfTI file beside it to say where it lies; give the images")
    return read_grid(study.grid, channels=True)


def count_channels(study: ProbabilityStudy) -> int:
    """How many channels a study has; only headers are read.

    Raises:
        StudyError: A header is unusable.
    """
    return sum(open_channels(path, study.axes).channels for path in study.files)
