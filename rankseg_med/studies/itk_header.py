"""What the text headers of NRRD and MetaImage say about where and how voxels are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.reading import check_regular_file

_MAX_HEADER_BYTES = 2**16
_MAX_SIZE = 2**31
_MAX_DIMENSIONS = 7
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

    @property
    def compressed(self) -> bool:
        """Whether the voxels are deflated."""
        return self.encoding != "raw"


def read_itk_header(path: Path) -> ItkHeader:
    """Read what SimpleITK does not tell, and refuse what it would read wrongly or only guess.

    Args:
        path: `.nrrd`, `.mha` or `.mhd`.

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
