"""Files that ITK reads, NRRD and MetaImage: headers, geometry and voxels."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK

from rankseg_med.studies.errors import StudyError, check_regular_file, check_size, reported_as_study_error
from rankseg_med.studies.geometry import LPS_TO_RAS, Grid, check_affine, format_vector
from rankseg_med.studies.readers.blocks import ByteStream, read_blocks

ITK_SUFFIXES = (".nrrd", ".mha", ".mhd")

_MAX_HEADER_BYTES = 2**16
_MAX_SIZE = 2**31
_MAX_DIMENSIONS = 7
_DTYPES = {
    SimpleITK.sitkUInt8: "u1",
    SimpleITK.sitkInt8: "i1",
    SimpleITK.sitkUInt16: "u2",
    SimpleITK.sitkInt16: "i2",
    SimpleITK.sitkUInt32: "u4",
    SimpleITK.sitkInt32: "i4",
    SimpleITK.sitkUInt64: "u8",
    SimpleITK.sitkInt64: "i8",
    SimpleITK.sitkFloat32: "f4",
    SimpleITK.sitkFloat64: "f8",
}
_ANATOMICAL = {
    *("right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps"),
}

Encoding = Literal["raw", "gzip", "zlib"]
_NRRD_ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}


@dataclass(frozen=True)
class ItkHeader:
    """Where and how voxels are stored.

    Attributes:
        reader: name of ITK's reader of this format.
        voxel_file: the file that holds them.
        offset: bytes before the first one.
        encoding: encoding of all bytes after that.
        byte_order: NumPy's sign for it.
    """

    reader: str
    voxel_file: Path
    offset: int
    encoding: Encoding
    byte_order: Literal["<", ">"]


def read_itk_header(path: Path) -> ItkHeader:
    """Read what SimpleITK does not tell, and refuse what it would read wrongly or only guess.

    Raises:
        StudyError: if it is no such header, sizes are not positive, the voxels are neither binary nor deflated, lie in
            another file than MetaImage's usual one, or the orientation or spacing is not given.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_MAX_HEADER_BYTES)
    return _nrrd(start, path) if path.suffix.lower() == ".nrrd" else _meta_image(start, path)


def _nrrd(start: bytes, path: Path) -> ItkHeader:
    ends = [place + len(end) for end in (b"\n\n", b"\r\n\r\n") if (place := start.find(end)) >= 0]
    if not start.startswith(b"NRRD000") or not ends:
        raise StudyError(f"{path}: must be NRRD: start with NRRD000 and end its header with an empty line; convert it")
    fields = _fields(start[: min(ends)], ":")
    _check_sizes(fields.get("dimension", ""), fields.get("sizes", ""), path)
    if fields.get("space", "").lower() not in _ANATOMICAL or "space directions" not in fields:
        raise StudyError(
            f"{path}: must say how it lies in the patient (space: left-posterior-superior or the like, and space "
            f"directions), got space {fields.get('space')!r}; export it again with its orientation"
        )
    encoding = _NRRD_ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise StudyError(f"{path}: encoding must be raw or gzip, got {fields.get('encoding')!r}; save it as gzip")
    for name in ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(name, "0") != "0":
            raise StudyError(f"{path}: voxels must follow the header at once, got {name}: {fields[name]}; save it anew")
    big = fields.get("endian", "little").lower() == "big"
    return ItkHeader("NrrdImageIO", path, min(ends), encoding, ">" if big else "<")


def _meta_image(start: bytes, path: Path) -> ItkHeader:
    place = start.find(b"ElementDataFile")
    end = start.find(b"\n", place) + 1
    fields = _fields(start[:end], "=")
    if place < 0 or "elementdatafile" not in fields:
        raise StudyError(f"{path}: must be a MetaImage, whose header ends in ElementDataFile; convert it")
    _check_sizes(fields.get("ndims", ""), fields.get("dimsize", ""), path)
    if "elementspacing" not in fields:
        raise StudyError(f"{path}: must say the distance between voxels (ElementSpacing), got none; export it again")
    if fields.get("binarydata", "true").lower() != "true" or fields.get("headersize", "0") != "0":
        raise StudyError(f"{path}: voxels must be binary and without a header of their own; save it anew")
    name = fields["elementdatafile"]
    local = name.upper() == "LOCAL"
    voxel_file = path if local else path.parent / name
    if not local and (name in ("", ".", "..") or name.upper() == "LIST" or any(sign in name for sign in "/\\%\0")):
        raise StudyError(f"{path}: ElementDataFile must be LOCAL or one file beside the header, got {name!r}")
    try:
        check_regular_file(voxel_file)
    except StudyError as error:
        raise StudyError(f"{error}; {path.name} says that this file holds the voxels") from error
    big = "true" in (fields.get(key, "").lower() for key in ("binarydatabyteordermsb", "elementbyteordermsb"))
    compressed = fields.get("compresseddata", "false").lower() == "true"
    offset = end if local else 0
    encoding: Encoding = "zlib" if compressed else "raw"
    return ItkHeader("MetaImageIO", voxel_file, offset, encoding, ">" if big else "<")


def _fields(header: bytes, separator: str) -> dict[str, str]:
    """Names in lower case to values; lines without the separator are left out."""
    lines = (line.partition(separator) for line in header.decode("latin-1").splitlines() if not line.startswith("#"))
    return {name.strip().lower(): value.strip() for name, found, value in lines if found}


def _check_sizes(dimensions: str, sizes: str, path: Path) -> None:
    """Before ITK sees them, which takes some values for others, and crashes on too many dimensions."""
    numbers = sizes.split()
    if not numbers or not all(number.isascii() and number.isdigit() for number in numbers):
        raise StudyError(f"{path}: sizes of the axes must be whole numbers, got {sizes!r}")
    if dimensions != str(len(numbers)) or len(numbers) > _MAX_DIMENSIONS:
        raise StudyError(f"{path}: must have a size for each dimension, got {dimensions!r} dimensions, sizes {sizes!r}")
    if not all(0 < int(number) < _MAX_SIZE for number in numbers):
        raise StudyError(f"{path}: every axis must hold a voxel, got sizes {sizes!r}")


class ItkFile:
    """A NRRD or MetaImage file; see `Reader`.

    Args:
        path: `.nrrd`, `.mha` or `.mhd`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, and of `.mhd` the one that holds the voxels."""
        if self._path.suffix.lower() != ".mhd":
            return (self._path,)
        check_regular_file(self._path)
        try:
            return tuple(dict.fromkeys((self._path, read_itk_header(self._path).voxel_file)))
        except StudyError:
            return (self._path,)

    @property
    def grid(self) -> Grid:
        """Its voxel grid."""
        return self._opened[2]

    def blocks(self) -> Iterator[np.ndarray]:
        """Voxels as they are stored; neither format has a slope."""
        header, dtype, grid = self._opened
        with reported_as_study_error(self._path, "NRRD or MetaImage"), header.voxel_file.open("rb") as file:
            file.seek(header.offset)
            yield from read_blocks(_decoded(file, header, _size(grid, dtype)), grid.shape, dtype)

    @cached_property
    def _opened(self) -> tuple[ItkHeader, np.dtype[np.generic], Grid]:
        path = self._path
        check_regular_file(path)
        with reported_as_study_error(path, "NRRD or MetaImage"):
            header = read_itk_header(path)
            reader = SimpleITK.ImageFileReader()
            reader.SetFileName(str(path))
            reader.SetImageIO(header.reader)
            reader.ReadImageInformation()
        dtype, grid = _dtype(reader, path).newbyteorder(header.byte_order), _grid(reader, path)
        check_size(path, header.voxel_file, header.offset + _size(grid, dtype), compressed=header.encoding != "raw")
        return header, dtype, grid


def _size(grid: Grid, dtype: np.dtype[np.generic]) -> int:
    return math.prod(grid.shape) * dtype.itemsize


def _decoded(file: io.BufferedReader, header: ItkHeader, size: int) -> ByteStream:
    if header.encoding == "gzip":
        return gzip.GzipFile(fileobj=file)
    if header.encoding == "zlib":
        return io.BytesIO(_inflate(file.read(), size))
    return file


def _inflate(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes, with their checksum compared; gives out no more than that, whatever the data hold."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    inflated = inflater.decompress(data, size)
    surplus = inflater.decompress(inflater.unconsumed_tail, 1)
    if len(inflated) < size or surplus or not inflater.eof:
        found = "more" if surplus else len(inflated)
        raise OSError(f"Expected {size} bytes and the stream's end, got {found}")
    return inflated


def _dtype(reader: SimpleITK.ImageFileReader, path: Path) -> np.dtype[np.generic]:
    pixel, components = reader.GetPixelID(), reader.GetNumberOfComponents()
    if pixel not in _DTYPES or components != 1:
        kind = SimpleITK.GetPixelIDValueAsString(pixel)
        raise StudyError(f"{path}: voxels must be real numbers, got {kind} with {components} components")
    return np.dtype(_DTYPES[pixel])


def _grid(reader: SimpleITK.ImageFileReader, path: Path) -> Grid:
    shape = tuple(reader.GetSize())
    dimensions = len(shape)
    if dimensions < 3:
        raise StudyError(f"{path}: must be 3-D, got {dimensions}-D of shape {shape}; stack the slices into one volume")
    if math.prod(shape[3:]) != 1:
        raise StudyError(f"{path}: must hold one 3-D volume, got shape {shape}; split it into one file per volume")
    spacing_mm = np.array(reader.GetSpacing()[:3])
    if not (np.isfinite(spacing_mm) & (spacing_mm > 0)).all():
        raise StudyError(f"{path}: spacing must be positive and finite, got {format_vector(spacing_mm)} mm")
    affine = np.eye(4)
    directions = np.reshape(reader.GetDirection(), (dimensions, dimensions))[:3, :3]
    affine[:3, :3] = directions * spacing_mm
    affine[:3, 3] = reader.GetOrigin()[:3]
    affine = LPS_TO_RAS @ affine
    check_affine(affine, path)
    return Grid((shape[0], shape[1], shape[2]), affine)
