"""What MONAI transforms recorded about the grid, undone one operation at a time and axis by axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Float64
from monai.data.utils import to_affine_nd
from monai.utils import TraceKeys
from torch import Tensor

from rankseg_med.inference.errors import InferenceError
from rankseg_med.transforms import AxisTaps, Beyond, axis_coordinates

_BEYOND: dict[str, Beyond] = {"border": "border", "nearest": "border", "zeros": "zeros", "constant": "zeros"}


@dataclass(frozen=True)
class AxisOrigin:
    """How the voxels of one axis come from the preprocessed volume.

    Attributes:
        model_axis: Spatial axis of the preprocessed volume.
        linear: From its slices to those of this axis, for probabilities.
        nearest: The same for labels.
    """

    model_axis: int
    linear: AxisTaps
    nearest: AxisTaps

    @classmethod
    def untouched(cls, axis: int, size: int) -> AxisOrigin:
        """An axis of the preprocessed volume itself."""
        slices = torch.arange(size, dtype=torch.float64)
        return cls(axis, AxisTaps.linear(slices, size, "border"), AxisTaps.nearest(slices, size, "border"))

    @property
    def size(self) -> int:
        """Voxels along the axis."""
        return self.linear.size

    def at(self, coordinates: Float64[Tensor, " size"], beyond: Beyond) -> AxisOrigin:
        """The axis after resampling to these coordinates of it."""
        return AxisOrigin(
            self.model_axis,
            AxisTaps.linear(coordinates, self.size, beyond).after(self.linear),
            AxisTaps.nearest(coordinates, self.size, beyond).after(self.nearest),
        )


@dataclass(frozen=True)
class TracedGrid:
    """A voxel grid on the way back from the preprocessed volume to the file.

    Attributes:
        affine: Voxel indices to RAS+ mm, ``(rank + 1, rank + 1)``.
        axes: One origin per axis.
    """

    affine: Float64[np.ndarray, "n n"]
    axes: tuple[AxisOrigin, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels per axis."""
        return tuple(axis.size for axis in self.axes)

    def before(self, operation: Mapping[str, Any]) -> TracedGrid:
        """The grid before an operation that MONAI recorded.

        Raises:
            InferenceError: It cannot be undone axis by axis, or what it recorded does not fit this grid.
        """
        info = operation.get(TraceKeys.EXTRA_INFO, {})
        grid = self
        # Operations that crop and pad record both, and padded last.
        for part in ("pad_info", "crop_info"):
            if part in info:
                grid = grid.before(info[part])
        name, shape = operation[TraceKeys.CLASS_NAME], tuple(int(size) for size in operation[TraceKeys.ORIG_SIZE])
        if "crop_info" not in info:
            grid = grid._undone(name, info, shape)
        if grid.shape != shape:
            raise InferenceError(
                f"the preprocessing could not be undone: {name} recorded a volume {shape}, its inverse gives "
                f"{grid.shape}; did something that is not an invertible transform change the shape in between?"
            )
        return grid

    def _undone(self, name: str, info: Mapping[str, Any], shape: tuple[int, ...]) -> TracedGrid:
        if "cropped" in info:
            cropped = np.reshape(info["cropped"], (-1, 2))
            return self._shifted(-cropped[:, 0], np.array(self.shape) + cropped.sum(1), "zeros")
        if "padded" in info:
            padded = np.array(info["padded"])[1 : 1 + len(self.axes)]
            return self._shifted(padded[:, 0], np.array(self.shape) - padded.sum(1), "border")
        if "src_affine" in info:
            return self._resampled(name, info, shape)
        if name == "Orientation":
            return self._reoriented(info["original_affine"])
        if name == "Flip":
            rank = len(self.axes)
            axes = range(rank) if info["axes"] is None else np.atleast_1d(info["axes"])
            flipped = {int(axis) % rank for axis in axes}
            return self._turned(np.array([[axis, -1 if axis in flipped else 1] for axis in range(rank)]))
        if name == "Lambda":  # any function of the voxels, which MONAI records too
            return self
        raise InferenceError(
            f"the preprocessing could not be undone axis by axis because of {name}; supported are Orientation, Spacing "
            "and AxisSpacing, Flip, crops, and pads"
        )

    def _shifted(self, starts: np.ndarray, shape: np.ndarray, beyond: Beyond) -> TracedGrid:
        """Begin each axis at another of its voxels, also at one before the first."""
        shift = np.eye(len(self.axes) + 1)
        shift[:-1, -1] = starts
        axes = (
            axis.at(start + torch.arange(size, dtype=torch.float64), beyond)
            for axis, start, size in zip(self.axes, starts.tolist(), shape.tolist(), strict=True)
        )
        return TracedGrid(self.affine @ shift, tuple(axes))

    def _resampled(self, name: str, info: Mapping[str, Any], shape: tuple[int, ...]) -> TracedGrid:
        if info["padding_mode"] not in _BEYOND:
            raise InferenceError(
                f"the preprocessing could not be undone: {name} must have a padding_mode of {', '.join(_BEYOND)}, "
                f"got {info['padding_mode']}"
            )
        affine = to_affine_nd(len(shape), np.asarray(info["src_affine"], dtype=float))
        try:
            coordinates = axis_coordinates(self.affine, affine, shape)
        except ValueError as error:
            raise InferenceError(
                f"the preprocessing could not be undone axis by axis because of {name}: {error}; "
                "AxisSpacingd keeps axes parallel"
            ) from error
        beyond = _BEYOND[info["padding_mode"]]
        for axis, places in zip(self.axes, coordinates, strict=True):
            if beyond == "border" and (places.min() < -1 or places.max() > axis.size):
                raise InferenceError(
                    f"the preprocessing could not be undone: {name} made a volume that covers its input's {shape}, but "
                    f"{self.shape} is left of it; crop with invertible transforms only"
                )
        return TracedGrid(
            affine, tuple(axis.at(places, beyond) for axis, places in zip(self.axes, coordinates, strict=True))
        )

    def _reoriented(self, original_affine: object) -> TracedGrid:
        rank = len(self.axes)
        original = to_affine_nd(rank, np.asarray(original_affine, dtype=float))
        here, there = nib.io_orientation(self.affine), nib.io_orientation(original)
        return self._turned(nib.orientations.ornt_transform(here, there))

    def _turned(self, orientation: np.ndarray) -> TracedGrid:
        """Permute and flip axes.

        Args:
            orientation: Per axis, where it goes and 1 or -1 for its direction, as in nibabel.
        """
        axes = list(self.axes)
        for axis, (place, direction) in zip(self.axes, orientation, strict=True):
            backwards = torch.arange(axis.size, dtype=torch.float64).flip(0)
            axes[int(place)] = axis if direction > 0 else axis.at(backwards, "border")
        return TracedGrid(self.affine @ nib.orientations.inv_ornt_aff(orientation, self.shape), tuple(axes))
