"""Reading the voxels of NIfTI files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from nibabel.volumeutils import apply_read_scaling

from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.header import open_nifti
from rankseg_med.studies.reading import reported_as_study_error
from rankseg_med.studies.voxel_blocks import read_blocks


class NiftiFile:
    """A NIfTI file with a sound header; see `ImageSource`.

    Args:
        path: `.nii`, `.nii.gz`, or either half of an `.img`/`.hdr` pair.

    Raises:
        StudyError: see `open_nifti`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._image = open_nifti(path)
        x, y, z = map(int, self._image.shape[:3])
        self.grid = Grid((x, y, z), np.asarray(self._image.affine, float))

    def blocks(self) -> Iterator[np.ndarray]:
        """Voxels, with slope and intercept applied."""
        stored = self._image.dataobj
        with (
            reported_as_study_error(self._path),
            self._image.file_map["image"].get_prepare_fileobj("rb") as stream,
        ):
            stream.seek(int(stored.offset))
            for block in read_blocks(stream, self.grid.shape, stored.dtype):
                # What no float holds becomes infinite, which whoever reads refuses.
                with np.errstate(over="ignore", invalid="ignore"):
                    scaled = apply_read_scaling(block, stored.slope, stored.inter)
                yield scaled
