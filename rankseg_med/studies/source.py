"""Any image that can be read: which reader takes it, and what every reader offers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from rankseg_med.studies.dicom import DicomSeries
from rankseg_med.studies.errors import StudyError
from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.itk import ItkFile
from rankseg_med.studies.naming import IMAGE_SUFFIXES, ITK_SUFFIXES, is_nifti
from rankseg_med.studies.nifti import NiftiFile
from rankseg_med.studies.reading import reported_as_study_error


@runtime_checkable
class ImageSource(Protocol):
    """An image whose header was read and found sound."""

    @property
    def grid(self) -> Grid:
        """Its voxel grid."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Its voxels, scaled, as blocks `(X, Y, slices)` from the first slice to the last.

        Raises:
            StudyError: if the data are damaged or shorter than the header says.
        """


def open_image(path: Path) -> ImageSource:
    """Open an image and check its header; voxels are not read.

    Args:
        path: NIfTI-1 or NIfTI-2 (`.nii`, `.nii.gz`, or either half of `.img`/`.hdr`), NRRD (`.nrrd`), MetaImage
            (`.mha`, `.mhd`), or a folder that holds one DICOM series.

    Raises:
        StudyError: if it is missing, unreadable, of another kind (a FIFO or device is not even opened), not one 3-D
            volume of real numbers, shorter than its header says, or without usable geometry. The message names the
            file, what was required, what came and the likely fix.
    """
    with reported_as_study_error(path, "an image"):
        is_folder = path.is_dir()
    if is_folder:
        return DicomSeries(path)
    if is_nifti(path):
        return NiftiFile(path)
    if path.name.lower().endswith(ITK_SUFFIXES):
        return ItkFile(path)
    raise StudyError(
        f"{path}: must be a file named {', '.join(IMAGE_SUFFIXES)}, or a folder of one DICOM series; convert it"
    )


def read_grid(path: Path) -> Grid:
    """Shape and affine of any image that `open_image` takes; voxels are not read.

    Raises:
        StudyError: as `open_image`.
    """
    return open_image(path).grid
