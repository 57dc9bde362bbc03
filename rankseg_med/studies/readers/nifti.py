"""NIfTI files: one volume, or the probabilities of several classes on one grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling

from rankseg_med.studies.errors import StudyError, reported_as_study_error
from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.readers.blocks import Slabs, read_blocks, unpacked
from rankseg_med.studies.readers.nifti_header import open_nifti

_HALVES = (".hdr", ".HDR", ".img", ".IMG")


class NiftiFile:
    """A NIfTI file; see `Reader` and, for several volumes, `open_channels`.

    Args:
        path: `.nii`, `.nii.gz`, or either half of an `.img`/`.hdr` pair.
        channels: allow several volumes on one grid.
    """

    def __init__(self, path: Path, *, channels: bool = False) -> None:
        self._path = path
        self._may_have_channels = channels

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, or the halves of the pair that are there."""
        if self._path.suffix not in _HALVES:
            return (self._path,)
        return tuple(half for suffix in _HALVES if (half := self._path.with_suffix(suffix)).exists())

    @cached_property
    def _image(self) -> nib.Nifti1Pair:
        return open_nifti(self._path, channels=self._may_have_channels)

    @property
    def grid(self) -> Grid:
        """Its voxel grid, see `open_nifti`."""
        x, y, z = map(int, self._image.shape[:3])
        return Grid((x, y, z), np.asarray(self._image.affine, float))

    @property
    def channels(self) -> int:
        """How many volumes it holds."""
        return math.prod(self._image.shape[3:])

    @property
    def holds_labels(self) -> bool:
        """Whether it holds whole numbers, as they are."""
        stored = self._image.dataobj
        return stored.dtype.kind in "iu" and (stored.slope, stored.inter) == (1, 0)

    def blocks(self) -> Iterator[np.ndarray]:
        """Voxels of its one volume, with slope and intercept applied."""
        stored, shape = self._image.dataobj, self.grid.shape
        with (
            reported_as_study_error(self._path),
            self._image.file_map["image"].get_prepare_fileobj("rb") as stream,
        ):
            stream.seek(int(stored.offset))
            for block in read_blocks(stream, shape, stored.dtype):
                # What no float holds becomes infinite, which whoever reads refuses.
                with np.errstate(over="ignore", invalid="ignore"):
                    scaled = apply_read_scaling(block, stored.slope, stored.inter)
                yield scaled

    @contextmanager
    def slabs(self, folder: Path | None) -> Iterator[Slabs]:
        """Its volumes as probabilities, see `open_channels`."""
        image, path = self._image, self._path
        if self.holds_labels:
            raise StudyError(
                f"{path}: probabilities must be floating point or scaled, got {image.get_data_dtype()} without a "
                "slope; was a label map saved? Those are decoded already; give what the network put out before"
            )

        def read(slab: slice) -> np.ndarray:
            with reported_as_study_error(path):
                block = np.asarray(image.dataobj[:, :, slab], np.float32)
            return np.ascontiguousarray(np.moveaxis(block.reshape(*block.shape[:3], self.channels), 3, 0))

        if not path.name.lower().endswith(".gz"):
            yield Slabs(self.channels, 2, read)
            return
        needed = int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize
        with ExitStack() as stack:
            with reported_as_study_error(path), image.file_map["image"].get_prepare_fileobj("rb") as stream:
                image = type(image).from_stream(stack.enter_context(unpacked(stream, needed, folder)))
            yield Slabs(self.channels, 2, read)
