"""Files that hold volumes, format by format; here the format is chosen, by the file's name."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Protocol, runtime_checkable

import numpy as np

from rankseg_med.studies.errors import StudyError, reported_as_study_error
from rankseg_med.studies.geometry import Grid, compare_grids
from rankseg_med.studies.readers.arrays import ArrayFile, Axes
from rankseg_med.studies.readers.dicom import DicomSeries
from rankseg_med.studies.readers.itk import ITK_SUFFIXES, ItkFile
from rankseg_med.studies.readers.nifti import NiftiFile
from rankseg_med.studies.readers.nifti_header import NIFTI_SUFFIXES, is_nifti

IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)


@runtime_checkable
class Reader(Protocol):
    """An image of one volume. Nothing is read before it is asked for."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is read of it, whether sound or not; what is not there is left out."""

    @property
    def grid(self) -> Grid:
        """Its voxel grid; the header is read and checked.

        Raises:
            StudyError: see `open_image`.
        """

    def blocks(self) -> Iterator[np.ndarray]:
        """Its voxels, scaled, as blocks `(X, Y, slices)` from the first slice to the last.

        Raises:
            StudyError: if the data are damaged or shorter than the header says.
        """


def is_image_file(path: PurePath) -> bool:
    """Whether a file is named as an image that can be read: NIfTI, NRRD or MetaImage."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def _image_file(path: Path, *, channels: bool = False) -> NiftiFile | ItkFile | None:
    if is_nifti(path):
        return NiftiFile(path, channels=channels)
    return ItkFile(path) if path.name.lower().endswith(ITK_SUFFIXES) else None


def open_image(path: Path, *, channels: bool = False) -> Reader:
    """Open an image and check its header; voxels are not read.

    Args:
        path: NIfTI-1 or NIfTI-2 (`.nii`, `.nii.gz`, or either half of `.img`/`.hdr`), NRRD (`.nrrd`), MetaImage
            (`.mha`, `.mhd`), or a folder that holds one DICOM series.
        channels: allow several NIfTI volumes on one grid.

    Raises:
        StudyError: if it is missing, unreadable, of another kind (a FIFO or device is not even opened), not one 3-D
            volume of real numbers, shorter than its header says, or without usable geometry. The message names the
            file, what was required, what came and the likely fix.
    """
    with reported_as_study_error(path, "an image"):
        is_folder = path.is_dir()
    reader = DicomSeries(path) if is_folder else _image_file(path, channels=channels)
    if reader is None:
        raise StudyError(
            f"{path}: must be a file named {', '.join(IMAGE_SUFFIXES)}, or a folder of one DICOM series; convert it"
        )
    _ = reader.grid
    return reader


def open_channels(path: Path, axes: Axes, grid: Grid | None = None) -> NiftiFile | ArrayFile:
    """The reader of a file of probabilities, a channel for each class or region; the file is not looked at.

    Its `grid` and `channels` are as the header says, and refused if they cannot be used. `slabs(folder)` is a context
    in which values can be read; a compressed file is unpacked for it once, to a temporary file without a name.

    Args:
        path: it.
        axes: order of the axes of an array; NIfTI says itself.
        grid: the grid that an array lies on; None where only channels are counted.
    """
    return NiftiFile(path, channels=True) if is_nifti(path) else ArrayFile(path, axes, grid)


def read_grid(path: Path, *, channels: bool = False) -> Grid:
    """Shape and affine of any image that `open_image` takes; voxels are not read.

    Raises:
        StudyError: as `open_image`.
    """
    return open_image(path, channels=channels).grid


def check_same_grid(first: Path, second: Path) -> None:
    """Check that two images share shape, spacing, orientation and origin; only headers are read.

    Args:
        first: a file or DICOM series, such as the image (see `read_grid`).
        second: another, such as its label map.

    Raises:
        StudyError: if either header is unusable (see `read_grid`).
        GridError: if the grids differ, see `compare_grids`.
    """
    compare_grids(first, read_grid(first), second, read_grid(second))


def files_read(path: Path) -> tuple[Path, ...]:
    """The files that are read of an image: itself, and where its voxels lie elsewhere, the file that holds them.

    Args:
        path: any image, or another file. Either half of an `.img`/`.hdr` pair stands for both; `.mhd` for its data
            file too; a folder for the files directly in it that may be slices of a DICOM series. Folders in it and
            hidden files are not read, and do not count.

    Returns:
        At least one, in an order that depends on their names alone. A companion that should be there and is not is
        left out, and so is one that a damaged header cannot name: whoever reads the image says what is wrong with it.

    Raises:
        StudyError: a folder without files, or a header that is no regular file.
        OSError: the path is not there or cannot be read.
    """
    reader = DicomSeries(path) if stat.S_ISDIR(path.stat().st_mode) else _image_file(path)
    return (path,) if reader is None else reader.files
