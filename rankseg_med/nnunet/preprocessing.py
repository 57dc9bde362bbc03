"""From a study's files to what nnU-Net's networks see, and where that lies in the files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from rankseg_med.nnunet.library import Library
from rankseg_med.nnunet.plans import Plans
from rankseg_med.studies import Grid, StudyError, load_images, read_grid


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
    """Preprocess a study's images with nnU-Net's own code.

    They are read by `load_images`, which gives the voxels that nnU-Net's readers do, and does not fill up what a
    truncated file lacks.

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
    axes = axes_in_array(grid, turned=plans.reorients)
    order = np.argsort(axes[:, 0])
    spacing_mm = _spacing_mm(images[0], grid, by_itk=plans.by_itk)
    properties: dict[str, Any] = {"spacing": [spacing_mm[axis] for axis in order]}
    voxels = np.ascontiguousarray(load_images(images).as_tensor().numpy().transpose(0, 3, 2, 1))
    voxels = np.flip(voxels, tuple((1 + np.flatnonzero(axes[:, 1] < 0)).tolist())).transpose(0, *(1 + order))
    if plans.by_itk:
        # It lays voxels anew when it turns an image, nibabel does not, and on that the last digit of a mean depends.
        voxels = np.ascontiguousarray(voxels)
    image = torch.from_numpy(library.preprocess(voxels, properties))
    return Preprocessed(image, _placement(grid, axes, properties, plans.transpose_forward))


def axes_in_array(grid: Grid, *, turned: bool) -> Int64[np.ndarray, "3 2"]:
    """For each axis Z, Y, X of the file its place in nnU-Net's array, and 1 or -1 for its direction."""
    if not turned:
        return np.array([[0, 1], [1, 1], [2, 1]])
    orientation = nib.io_orientation(grid.affine).astype(np.int64)[::-1]
    return np.stack([2 - orientation[:, 0], orientation[:, 1]], 1)


def _spacing_mm(image: Path, grid: Grid, *, by_itk: bool) -> Sequence[float]:
    """Spacing along Z, Y and X to the last digit of nnU-Net's readers, on which the shape to resample to can hang."""
    if image.is_dir():
        return grid.spacing_mm[::-1]
    if by_itk:
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(image))
        with contextlib.suppress(RuntimeError):  # nnU-Net does not read what ITK refuses, such as slanted slices
            reader.ReadImageInformation()
            return [abs(size) for size in reader.GetSpacing()[::-1]]
    elif image.name.endswith((".nii", ".nii.gz")):
        return [float(size) for size in nib.load(image).header.get_zooms()[::-1]]
    return grid.spacing_mm[::-1]


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
