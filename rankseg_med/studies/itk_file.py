"""Reading NRRD and MetaImage files.

SimpleITK reads the header. The voxels are read here, because ITK takes memory for whatever a header claims, and returns
damaged zlib data without an error.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import LPS_TO_RAS, Grid, check_affine, format_vector
from rankseg_med.studies.itk_header import read_itk_header
from rankseg_med.studies.reading import check_regular_file, check_size, reported_as_study_error
from rankseg_med.studies.voxel_blocks import ByteStream, read_blocks

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


class ItkFile:
    """A NRRD or MetaImage file with a sound header; see `ImageSource`.

    Args:
        path: `.nrrd`, `.mha` or `.mhd`.

    Raises:
        StudyError: if the file is missing, damaged or no regular file, does not hold one 3-D volume of real numbers,
            or has no usable geometry; see `open_image`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        check_regular_file(path)
        with reported_as_study_error(path, "NRRD or MetaImage"):
            self._header = read_itk_header(path)
            reader = SimpleITK.ImageFileReader()
            reader.SetFileName(str(path))
            reader.SetImageIO(self._header.reader)
            reader.ReadImageInformation()
        self._dtype = _dtype(reader, path).newbyteorder(self._header.byte_order)
        self.grid = _grid(reader, path)
        needed = self._header.offset + self._stored_bytes
        check_size(path, self._header.voxel_file, needed, compressed=self._header.compressed)

    @property
    def _stored_bytes(self) -> int:
        return math.prod(self.grid.shape) * self._dtype.itemsize

    def blocks(self) -> Iterator[np.ndarray]:
        """Voxels as they are stored; neither format has a slope."""
        with reported_as_study_error(self._path, "NRRD or MetaImage"), self._header.voxel_file.open("rb") as file:
            file.seek(self._header.offset)
            yield from read_blocks(self._decoded(file), self.grid.shape, self._dtype)

    def _decoded(self, file: io.BufferedReader) -> ByteStream:
        if self._header.encoding == "gzip":
            return gzip.GzipFile(fileobj=file)
        if self._header.encoding == "zlib":
            return io.BytesIO(_inflate(file.read(), self._stored_bytes))
        return file


def _inflate(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes, with their checksum compared; gives out no more than that, whatever the data hold.

    Raises:
        OSError: if there are fewer or more.
        zlib.error: if the data are damaged.
    """
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
