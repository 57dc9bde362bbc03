"""From the grid that a network saw back to the grid of the file, slab by slab."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Shaped, UInt8
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from torch import Tensor

from rankseg_med.inference.errors import InferenceError
from rankseg_med.inference.slab import Slab
from rankseg_med.inference.undoing import AxisOrigin, TracedGrid
from rankseg_med.transforms import resample_slices

# Values (classes times voxels) handed on at a time.
_SLAB_VALUES = 1 << 21


@dataclass(frozen=True)
class NativeGrid:
    """How a preprocessed ("model") volume lies in the ("native") volume of its file.

    Orientation, spacing, flips, crops and pads keep axes aligned, so each native axis is a sparse linear map of one
    model axis. The result is that of MONAI's ``Invertd(..., nearest_interp=False)``, which needs 44 to 113 bytes a
    voxel; here a few slices are held.

    Attributes:
        model_shape: Shape of the preprocessed volume.
        axes: Per native axis, where it comes from.
    """

    model_shape: tuple[int, ...]
    axes: tuple[AxisOrigin, ...]

    @classmethod
    def of(cls, image: Shaped[MetaTensor, "channels *model"]) -> NativeGrid:
        """Read the way back from what transforms recorded on a preprocessed image.

        Raises:
            InferenceError: The preprocessing cannot be undone axis by axis; the message names the operation.
        """
        shape = tuple(image.shape[1:])
        axes = tuple(AxisOrigin.untouched(axis, size) for axis, size in enumerate(shape))
        grid = TracedGrid(to_affine_nd(len(shape), image.affine.numpy()), axes)
        for operation in reversed(image.applied_operations):
            grid = grid.before(operation)
        # Readers note the file's shape; what changes the grid without record shows here.
        native = tuple(int(size) for size in image.meta.get("spatial_shape", grid.shape))
        if grid.shape != native:
            raise InferenceError(
                f"the preprocessing could not be undone: the image is {native}, probabilities came back as "
                f"{grid.shape}; use invertible spatial transforms only"
            )
        return cls(shape, grid.axes)

    @property
    def native_shape(self) -> tuple[int, ...]:
        """Voxels of the file per axis."""
        return tuple(axis.size for axis in self.axes)

    def native_axis(self, model_axis: int) -> int:
        """The native axis that a model axis became."""
        return [axis.model_axis for axis in self.axes].index(model_axis)

    def carry(self, slabs: Iterable[Slab], axis: int) -> Iterator[Slab]:
        """Carry a volume to the native grid.

        Args:
            slabs: Slabs of values ``(classes, *model)`` along ``axis``, ascending, that cover it.
            axis: Axis of the model grid.

        Yields:
            Slabs of values ``(classes, *native)`` along ``native_axis(axis)`` that cover it once, a few slices each, as
            soon as what they need is there; descending where the axis is flipped. Beyond a cropped box values are 0.
            Where both grids are one, the slabs that came.
        """
        if self._is_identity:
            yield from slabs
            return
        native = self.native_axis(axis)
        in_plane, order = self._in_plane(axis)
        planes = (plane for slab in slabs for plane in slab.probabilities.unbind(axis + 1))
        linear = [origin.linear for origin in in_plane]
        batch: list[tuple[int, Tensor]] = []
        for number, plane in resample_slices(planes, self.axes[native].linear, linear):
            batch.append((number, plane.permute(order)))
            if (len(batch) + 1) * plane.numel() > _SLAB_VALUES:
                yield _stacked(batch, native)
                batch.clear()
        if batch:
            yield _stacked(batch, native)

    def labels(self, label_map: UInt8[Tensor, "*model"]) -> UInt8[Tensor, "*native"]:
        """Carry a label map to the native grid by nearest neighbours; beyond a cropped box it is 0.

        Equal to MONAI's ``Invertd(..., nearest_interp=True)``, but for voxels midway between two others: there the even
        one is taken, where in MONAI rounding decides.
        """
        if self._is_identity:
            return label_map
        native = self.native_axis(0)
        in_plane, order = self._in_plane(0)
        nearest = [origin.nearest for origin in in_plane]
        output = label_map.new_empty(self.native_shape)
        for number, plane in resample_slices(label_map[None].unbind(1), self.axes[native].nearest, nearest):
            output.select(native, number).copy_(plane.permute(order)[0])
        return output

    def _in_plane(self, axis: int) -> tuple[list[AxisOrigin], tuple[int, ...]]:
        """The axes of a model slice across ``axis``, and how ``(classes, *slice)`` is permuted to the file's order."""
        native_order = [origin for origin in self.axes if origin.model_axis != axis]
        model_order = sorted(native_order, key=lambda origin: origin.model_axis)
        places = {origin.model_axis: place for place, origin in enumerate(model_order, 1)}
        return model_order, (0, *(places[origin.model_axis] for origin in native_order))

    @property
    def _is_identity(self) -> bool:
        return all(origin.model_axis == axis and origin.linear.is_identity for axis, origin in enumerate(self.axes))


def _stacked(batch: list[tuple[int, Tensor]], axis: int) -> Slab:
    """Slices that follow each other, either way, as one slab."""
    numbers, planes = zip(*sorted(batch, key=lambda item: item[0]), strict=True)
    return Slab(numbers[0], numbers[-1] + 1, torch.stack(planes, axis + 1))
