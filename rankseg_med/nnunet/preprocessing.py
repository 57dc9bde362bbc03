"""From a study's files to what nnU-Net's networks see, and where that lies in the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from rankseg_med.nnunet.library import Library
from rankseg_med.nnunet.plans import Plans
from rankseg_med.studies import Grid, StudyError, check_same_grid, load_images, read_grid, reported_as_study_error


@dataclass(frozen=True)
class Placement:
    """Where the volume that a network saw lies in the file, whose axes are taken in the order Z, Y, X.

    The network's axes are the file's in another order, maybe backwards, and it saw a box of the file, resampled.

    Attributes:
        shape: Voxels of the file.
        model_axes: For each axis of the file, which one of the network's it is...
        backwards: ... and whether it runs the other way there.
        box: For each axis of the network, the first voxel of the box and the one after the last.
        spacing_mm: For each axis of the network, the spacing of the file.
    """

    shape: tuple[int, ...]
    model_axes: tuple[int, ...]
    backwards: tuple[bool, ...]
    box: tuple[tuple[int, int], ...]
    spacing_mm: tuple[float, ...]

    @property
    def box_shape(self) -> tuple[int, ...]:
        """Voxels of the box along the axes of the network."""
        return tuple(stop - start for start, stop in self.box)

    @property
    def box_in_file(self) -> tuple[slice, ...]:
        """The box along the axes of the file."""
        places = []
        for size, axis, backwards in zip(self.shape, self.model_axes, self.backwards, strict=True):
            start, stop = self.box[axis]
            places.append(slice(size - stop, size - start) if backwards else slice(start, stop))
        return tuple(places)


@dataclass(frozen=True)
class Preprocessed:
    """A study as the network takes it.

    Attributes:
        image: Its images.
        placement: Where they lie in the file.
    """

    image: Float32[Tensor, "images *model"]
    placement: Placement


def preprocess(images: Sequence[Path], plans: Plans, library: Library) -> Preprocessed:
    """Read and preprocess a study's images with nnU-Net's own code.

    Files that the reader of the plans does not take, such as a folder of DICOM slices, are read by `load_images`.

    Args:
        images: Images on one grid, in the order of ``channel_names``.
        plans: Plans of the model.
        library: nnU-Net, for these plans.

    Raises:
        StudyError: An image cannot be used, or there are more or fewer than the network takes.
    """
    if len(images) != plans.num_images:
        raise StudyError(
            f"{images[0] if images else 'study'}: must have {plans.num_images} images, one for each of nnU-Net's "
            f"channel_names, got {len(images)}"
        )
    grid = read_grid(images[0])
    for other in images[1:]:
        check_same_grid(images[0], other)
    axes = _axes_in_array(grid, turned=plans.reorients)
    if library.reads(images):
        with reported_as_study_error(images[0], "nnU-Net's input"):
            voxels, properties = library.read(images)
    else:
        voxels, properties = _read_ourselves(images, grid, axes)
    shape = tuple(grid.shape[::-1][axis] for axis in np.argsort(axes[:, 0]))
    if voxels.shape != (len(images), *shape):
        raise StudyError(f"{images[0]}: must be of shape {shape} (Z, Y, X), nnU-Net's reader gave {voxels.shape[1:]}")
    image = torch.from_numpy(library.preprocess(voxels, properties))
    return Preprocessed(image, _placement(grid, axes, properties, plans.transpose_forward))


def _axes_in_array(grid: Grid, *, turned: bool) -> Int64[np.ndarray, "3 2"]:
    """For each axis Z, Y, X of the file its place in nnU-Net's array, and 1 or -1 for its direction."""
    if not turned:
        return np.array([[0, 1], [1, 1], [2, 1]])
    orientation = nib.io_orientation(grid.affine).astype(np.int64)[::-1]
    return np.stack([2 - orientation[:, 0], orientation[:, 1]], 1)


def _read_ourselves(
    images: Sequence[Path], grid: Grid, axes: Int64[np.ndarray, "3 2"]
) -> tuple[Float32[np.ndarray, "images Z Y X"], dict[str, Any]]:
    voxels = load_images(images).as_tensor().numpy().transpose(0, 3, 2, 1)
    voxels = np.flip(voxels, tuple(1 + axis for axis in np.flatnonzero(axes[:, 1] < 0).tolist()))
    order = np.argsort(axes[:, 0])
    spacing_mm = grid.spacing_mm[::-1]
    return voxels.transpose(0, *(1 + order)), {"spacing": [spacing_mm[axis] for axis in order]}


def _placement(
    grid: Grid, axes: Int64[np.ndarray, "3 2"], properties: dict[str, Any], transpose_forward: Sequence[int]
) -> Placement:
    model_axes = [transpose_forward.index(place) for place in axes[:, 0].tolist()]
    return Placement(
        shape=grid.shape[::-1],
        model_axes=tuple(model_axes),
        backwards=tuple(direction < 0 for direction in axes[:, 1].tolist()),
        box=tuple((int(start), int(stop)) for start, stop in properties["bbox_used_for_cropping"]),
        spacing_mm=tuple(float(properties["spacing"][place]) for place in transpose_forward),
    )
