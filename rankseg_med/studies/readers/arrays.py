"""NumPy arrays of probabilities, which say neither where they lie nor in which order their axes are."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from io import BufferedRandom
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rankseg_med.studies.errors import StudyError, check_regular_file, check_size, reported_as_study_error
from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.readers.blocks import ByteStream, Slabs, unpacked

Axes = Literal["CZYX", "CXYZ"]
"""Axes of an array: channels first, then as SimpleITK and nnU-Net have them, or as nibabel and MONAI do."""

ARRAY_SUFFIXES = (".npz", ".npy")

_NAMES_IN_NPZ = ("probabilities", "softmax")
_HEADER_READERS: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class ArrayFile:
    """A `.npy` array, or the one of a `.npz` archive that holds the probabilities; see `open_channels`.

    Pickled arrays are refused, nothing is ever unpickled.

    Args:
        path: it.
        axes: order of its axes.
        grid: the grid that it shall lie on; None where only channels are counted.
    """

    def __init__(self, path: Path, axes: Axes, grid: Grid | None) -> None:
        self._path = path
        self._axes: Axes = axes
        self._grid = grid

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._path,)

    @property
    def channels(self) -> int:
        """Length of its first axis."""
        return self._header[0][0]

    @property
    def grid(self) -> Grid:
        """The grid that it was given.

        Raises:
            StudyError: if there is none, or the array has another shape or type than probabilities on it.
        """
        if self._grid is None:
            raise StudyError(f"{self._path}: an array does not say where it lies; give the images")
        _check_array(self._path, self._axes, self._header[0], self._header[2], self._grid)
        return self._grid

    @cached_property
    def _header(self) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
        with reported_as_study_error(self._path, "a NumPy array"), _array_stream(self._path) as stream:
            return _read_header(stream, self._path)

    @contextmanager
    def slabs(self, folder: Path | None) -> Iterator[Slabs]:
        """Its channels, mapped from the file; see `open_channels`."""
        path, (stored, order, dtype) = self._path, self._header
        size = math.prod(stored) * dtype.itemsize
        to_cxyz = (0, 3, 2, 1) if self._axes == "CZYX" else (0, 1, 2, 3)
        slowest_first = range(4) if order == "C" else range(3, -1, -1)
        axis = next(to_cxyz.index(place) - 1 for place in slowest_first if place != 0)
        index = (slice(None),) * (axis + 1)
        file: BufferedRandom | Path
        with ExitStack() as stack:
            with reported_as_study_error(path, "a NumPy array"), _array_stream(path) as stream:
                _read_header(stream, path)
                if path.suffix.lower() == ".npz":
                    check_size(path, path, size, compressed=True)
                    file, offset = stack.enter_context(unpacked(stream, size, folder)), 0
                else:
                    file, offset = path, stream.tell()
                    check_size(path, path, offset + size, compressed=False)

            def read(slab: slice) -> np.ndarray:
                # Mapped anew each time: pages that were read go back with the mapping.
                mapped = np.memmap(file, dtype, "r", offset, stored, order).transpose(to_cxyz)
                return np.array(mapped[(*index, slab)], np.float32, order="C")

            yield Slabs(stored[0], axis, read)


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


def _read_header(stream: ByteStream, path: Path) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
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
