"""Reading stored probabilities slab by slab, so that a volume never lies in memory as a whole."""

from __future__ import annotations

import errno
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import BufferedRandom
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.grid import compare_grids
from rankseg_med.studies.naming import is_nifti
from rankseg_med.studies.nifti import open_nifti
from rankseg_med.studies.probability_files import Axes, ProbabilityStudy
from rankseg_med.studies.reading import check_regular_file, check_size, reported_as_study_error
from rankseg_med.studies.source import read_grid

_SLAB_BYTES = 1 << 25
_CHUNK_BYTES = 1 << 20
_NAMES_IN_NPZ = ("probabilities", "softmax")
_HEADER_READERS: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class ProbabilityVolume:
    """Probabilities on a study's grid.

    Attributes:
        shape: ``(channels, X, Y, Z)``.
        axis: Spatial axis (0 to 2) along which slabs follow each other: that in which a slab lies together in the file.
    """

    shape: tuple[int, int, int, int]
    axis: int
    _parts: tuple[_Part, ...]

    @classmethod
    def in_memory(cls, probabilities: Float32[Tensor, "channels X Y Z"]) -> ProbabilityVolume:
        """Those of a tensor in main memory, without copying it."""
        channels, x, y, z = probabilities.shape
        part = _Part((channels, x, y, z), 0, lambda slab: probabilities[:, slab].numpy())
        return cls((channels, x, y, z), 0, (part,))

    def slabs(self) -> Iterator[tuple[slice, Float32[Tensor, "channels X Y Z"]]]:
        """Where each slab lies along the axis, and its values as they are stored, some 30 MB at a time."""
        length = self.shape[1 + self.axis]
        step = max(1, _SLAB_BYTES * length // (4 * math.prod(self.shape)))
        for start in range(0, length, step):
            slab = slice(start, min(start + step, length))
            channels = [torch.from_numpy(part.read(slab)) for part in self._parts]
            yield slab, channels[0] if len(channels) == 1 else torch.cat(channels)


@runtime_checkable
class _Stream(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True)
class _Part:
    """One file's channels: shape ``(channels, X, Y, Z)``, the axis of slabs, and how to read one."""

    shape: tuple[int, ...]
    axis: int
    read: Callable[[slice], np.ndarray]


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
            opened = _open_nifti_part if is_nifti(path) else _open_array
            parts.append(opened(path, study, grid, folder, stack))
        yield ProbabilityVolume((sum(part.shape[0] for part in parts), *grid.shape), parts[0].axis, tuple(parts))


def grid_of(study: ProbabilityStudy) -> Grid:
    """The grid of a study; only a header is read.

    Raises:
        StudyError: There is none, or its header is unusable.
    """
    if study.grid is None:
        raise StudyError(f"{study.files[0]}: there is no NIfTI file beside it to say where it lies; give the images")
    if not is_nifti(study.grid):
        return read_grid(study.grid)
    image = open_nifti(study.grid, channels=True)
    x, y, z = map(int, image.shape[:3])
    return Grid((x, y, z), np.asarray(image.affine, float))


def count_channels(study: ProbabilityStudy) -> int:
    """How many channels a study has; only headers are read.

    Raises:
        StudyError: A header is unusable.
    """
    if is_nifti(study.files[0]):
        return sum(math.prod(open_nifti(path, channels=True).shape[3:]) for path in study.files)
    (path,) = study.files
    with reported_as_study_error(path, "a NumPy array"), _array_stream(path) as stream:
        return _read_header(stream, path)[0][0]


def _open_nifti_part(path: Path, study: ProbabilityStudy, grid: Grid, folder: Path | None, stack: ExitStack) -> _Part:
    compare_grids(path, grid_of(replace(study, grid=path)), study.grid or path, grid)
    image = open_nifti(path, channels=True)
    if image.get_data_dtype().kind != "f" and (image.dataobj.slope, image.dataobj.inter) == (1, 0):
        raise StudyError(
            f"{path}: probabilities must be floating point or scaled, got {image.get_data_dtype()} without a slope; "
            "was a label map saved? Those are decoded already; give what the network put out before"
        )
    if path.name.lower().endswith(".gz"):
        needed = int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize
        with reported_as_study_error(path, "NIfTI"), image.file_map["image"].get_prepare_fileobj("rb") as stream:
            image = type(image).from_stream(_unpacked(stream, needed, folder, stack))
    stored, channels = image.dataobj, math.prod(image.shape[3:])

    def read(slab: slice) -> np.ndarray:
        with reported_as_study_error(path, "NIfTI"):
            block = np.asarray(stored[:, :, slab], np.float32)
        return np.ascontiguousarray(np.moveaxis(block.reshape(*block.shape[:3], channels), 3, 0))

    return _Part((channels, *image.shape[:3]), 2, read)


def _open_array(path: Path, study: ProbabilityStudy, grid: Grid, folder: Path | None, stack: ExitStack) -> _Part:
    file: BufferedRandom | Path = path
    offset = 0
    with reported_as_study_error(path, "a NumPy array"), _array_stream(path) as stream:
        stored, order, dtype = _read_header(stream, path)
        _check_array(path, study.axes, stored, dtype, grid)
        size = math.prod(stored) * dtype.itemsize
        if path.suffix.lower() == ".npz":
            check_size(path, path, size, compressed=True)
            file = _unpacked(stream, size, folder, stack)
        else:
            offset = stream.tell()
            check_size(path, path, offset + size, compressed=False)
    to_cxyz = (0, 3, 2, 1) if study.axes == "CZYX" else (0, 1, 2, 3)
    slowest_first = range(4) if order == "C" else range(3, -1, -1)
    axis = next(to_cxyz.index(place) - 1 for place in slowest_first if place != 0)
    index = (slice(None),) * (axis + 1)

    def read(slab: slice) -> np.ndarray:
        # Mapped anew each time: pages that were read go back with the mapping.
        mapped = np.memmap(file, dtype, "r", offset, stored, order).transpose(to_cxyz)
        return np.array(mapped[(*index, slab)], np.float32, order="C")

    return _Part(tuple(stored[place] for place in to_cxyz), axis, read)


@contextmanager
def _array_stream(path: Path) -> Iterator[Any]:
    """The bytes of a ``.npy`` file, or of the one array of a ``.npz`` archive that holds the probabilities."""
    check_regular_file(path)
    if path.suffix.lower() != ".npz":
        with path.open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive:
        members = {member.removesuffix(".npy"): member for member in archive.namelist()}
        known = [name for name in _NAMES_IN_NPZ if name in members]
        if len(members) < len(archive.namelist()) or len(known) > 1:
            raise StudyError(
                f"{path}: programs disagree on which array this is, since it holds {', '.join(archive.namelist())}; "
                "save one array of probabilities, under one name"
            )
        if not known and len(members) != 1:
            found = ", ".join(members) or "none"
            raise StudyError(f"{path}: must hold an array named {_NAMES_IN_NPZ[0]}, or one array only; got {found}")
        with archive.open(members[known[0]] if known else next(iter(members.values()))) as stream:
            yield stream


def _read_header(stream: _Stream, path: Path) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise StudyError(f"{path}: must be a plain array, got NumPy format {version}; save it with np.save")
    shape, fortran, dtype = _HEADER_READERS[version](stream)
    return shape, "F" if fortran else "C", dtype


def _check_array(path: Path, axes: Axes, stored: tuple[int, ...], dtype: np.dtype[Any], grid: Grid) -> None:
    if dtype.hasobject:
        raise StudyError(f"{path}: holds pickled Python objects, which are never loaded; save an array of float32")
    if dtype.kind != "f":
        raise StudyError(f"{path}: probabilities must be floating point, got {dtype}; was a label map saved?")
    if len(stored) != 4:
        raise StudyError(f"{path}: probabilities must have four axes, {axes}, got shape {stored}")
    expected = grid.shape[::-1] if axes == "CZYX" else grid.shape
    if stored[1:] != expected:
        other = "CXYZ" if axes == "CZYX" else "CZYX"
        hint = f"; as {other} it would fit" if stored[1:] == expected[::-1] else "; was it cropped or resampled?"
        raise StudyError(
            f"{path}: must have shape (channels, {str(expected)[1:]} ({axes}) to lie on the grid, got {stored}{hint}"
        )


def _unpacked(stream: _Stream, size: int, folder: Path | None, stack: ExitStack) -> BufferedRandom:
    """So many bytes of a compressed stream in a nameless file; the rest is read for the checksum at its end."""
    file = stack.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - the stack closes it
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
    return file
