"""Logits on the networks' grid to probabilities in the file, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from rankseg_med.inference import AxisOrigin, NativeGrid, Slab
from rankseg_med.nnunet.errors import NnunetError
from rankseg_med.nnunet.library import Library
from rankseg_med.nnunet.plans import Plans
from rankseg_med.nnunet.preprocessing import Placement
from rankseg_med.transforms import AxisTaps

Export = Literal["slabs", "exact"]

_BY_SKIMAGE, _BY_TORCH, _NOT_AT_ALL = "resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"
# What options are where plans are silent, and must be for `slabs`; whether slices are kept apart may be as it is.
_DEFAULTS: dict[str, dict[str, Any]] = {
    _BY_SKIMAGE: {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": False},
    _BY_TORCH: {"is_seg": False, "mode": "linear", "aniso_axis_mode": "nearest-exact", "force_separate_z": None},
    _NOT_AT_ALL: {},
}
_OF_SEPARATION = ("force_separate_z", "separate_z_anisotropy_threshold")


@dataclass(frozen=True)
class Exporter:
    """The way from logits to probabilities that nnU-Net goes, or one that ends at the same with less time and memory.

    nnU-Net interpolates linearly, and across slices that lie far apart takes the nearest one. That is separable:
    axis by axis, a few slices at a time, it gives the same but for rounding.

    Args:
        plans: Plans of the model.
        library: nnU-Net, for these plans.
        export: ``"slabs"`` interpolates axis by axis. ``"exact"`` lets nnU-Net resample the whole volume, so that
            argmax is its label map voxel for voxel, with its time and memory.

    Raises:
        NnunetError: The plans resample in a way that only ``"exact"`` can.
    """

    plans: Plans
    library: Library
    export: Export = "slabs"

    def __post_init__(self) -> None:
        if self.export not in ("slabs", "exact"):
            raise NnunetError(f"export must be slabs or exact, got {self.export!r}")
        linear = {name: value for name, value in _DEFAULTS[self._function].items() if name not in _OF_SEPARATION}
        if "order" in linear:
            linear["order"] = 1
        differing = {name: self._options[name] for name, value in linear.items() if self._options[name] != value}
        if self.export == "slabs" and differing:
            raise NnunetError(
                f"export 'slabs' is for plans that resample probabilities with {linear}, got {differing}; use export "
                "'exact'"
            )

    def probabilities(self, logits: Float[Tensor, "channels *model"], placement: Placement) -> Iterator[Slab]:
        """Probabilities ``(channels, Z, Y, X)`` of the whole file.

        Args:
            logits: Logits on the networks' grid; 16 bits, as nnU-Net's windows give them.
            placement: Where that lies in the file.

        Yields:
            Slabs along `axis_of` that cover the file once. Outside of what the networks saw is background, or no
            region.
        """
        if self.export == "exact":
            logits = self.library.resample(
                logits, placement.box_shape, self._spacing_mm(placement), placement.spacing_mm
            )
            taps = [_untouched(size) for size in placement.box_shape]
        else:
            taps = self._taps(logits.shape[1:], placement)
        grid = _box_grid(logits.shape[1:], placement, taps)
        dtype = torch.float64 if self._rounds else torch.float32
        planes = (Slab(z, z + 1, plane.to(dtype)[:, None]) for z, plane in enumerate(logits.unbind(1)))
        slabs = (Slab(slab.start, slab.stop, self._activated(slab.probabilities)) for slab in grid.carry(planes, 0))
        return _in_file(slabs, placement, logits.shape[0], exclusive=self._exclusive)

    @property
    def _exclusive(self) -> bool:
        return self.plans.labels.regions is None

    @property
    def _function(self) -> str:
        name: str = self.plans.own["resampling_fn_probabilities"]
        return name

    @property
    def _options(self) -> dict[str, Any]:
        return {**_DEFAULTS[self._function], **self.plans.own["resampling_fn_probabilities_kwargs"]}

    @property
    def _rounds(self) -> bool:
        """Whether resampled logits are float16: by scikit-image nnU-Net computes in float64 and returns what it got."""
        return self.export == "slabs" and self._function == _BY_SKIMAGE

    def _spacing_mm(self, placement: Placement) -> list[float]:
        """Spacing of the networks' grid; 2-D networks leave the slices as they are."""
        spacing_mm = [float(value) for value in self.plans.own["spacing"]]
        return spacing_mm if len(spacing_mm) == 3 else [placement.spacing_mm[0], *spacing_mm]

    def _activated(self, logits: Float[Tensor, "channels *slab"]) -> Float[Tensor, "channels *slab"]:
        if self._rounds:
            logits = _rounded_to_half(logits)
        if not self._exclusive:
            return torch.sigmoid(logits)
        # nnU-Net takes argmax of logits; in single precision the softmax of some that differ is the same.
        return torch.softmax(logits.double() if self.export == "exact" else logits, 0)

    def _taps(self, shape: Sequence[int], placement: Placement) -> list[AxisTaps]:
        """For each of the networks' axes how the box's slices come from theirs."""
        if self._function == _NOT_AT_ALL:
            return [_untouched(size) for size in shape]
        options = {name: value for name, value in self._options.items() if name in _OF_SEPARATION}
        separate = self.library.separate_axis(self._spacing_mm(placement), placement.spacing_mm, options)
        return [
            _nearest(old, new, by_torch=self._function == _BY_TORCH) if axis == separate else _linear(old, new)
            for axis, (old, new) in enumerate(zip(shape, placement.box_shape, strict=True))
        ]


def axis_of(placement: Placement) -> int:
    """Axis of the file (Z, Y, X) along which slabs follow each other: the networks' first."""
    return placement.model_axes.index(0)


def _rounded_to_half(values: Float64[Tensor, "*shape"]) -> Float32[Tensor, "*shape"]:
    """Values as float16 has them, rounded once; torch goes through float32 and rounds some otherwise."""
    if values.device.type != "cpu":
        return values.half().float()
    return torch.from_numpy(values.numpy().astype(np.float16)).float()


def _coordinates(old: int, new: int) -> Float[Tensor, " new"]:
    """Where the centres of new voxels lie among the old, in nnU-Net's own order of operations."""
    return old / new * (torch.arange(new, dtype=torch.float64) + 0.5) - 0.5


def _linear(old: int, new: int) -> AxisTaps:
    """Between two slices. `AxisTaps.linear` rounds coordinates, which would tip a float16 here and there."""
    if old == new:
        return _untouched(old)
    places = _coordinates(old, new).clamp(0, old - 1)
    below = places.floor()
    index = torch.stack([below, below + 1], 1).clamp(max=old - 1).long()
    return AxisTaps(index, torch.stack([below + 1 - places, places - below], 1), old)


def _nearest(old: int, new: int, *, by_torch: bool) -> AxisTaps:
    """The nearest slice; of two at the same distance the upper one, as rounding has it in the one library or other."""
    if by_torch:
        slices = torch.arange(old, dtype=torch.float32)[None, None]
        nearest = F.interpolate(slices, size=new, mode="nearest-exact")[0, 0].double()
    else:
        nearest = (_coordinates(old, new) + 0.5).floor()
    return AxisTaps.linear(nearest, old, "border")


def _untouched(size: int) -> AxisTaps:
    return AxisTaps.linear(torch.arange(size, dtype=torch.float64), size, "border")


def _box_grid(shape: Sequence[int], placement: Placement, taps: Sequence[AxisTaps]) -> NativeGrid:
    """From the networks' grid to the box, its axes those of the file."""
    axes = []
    for model_axis, backwards in zip(placement.model_axes, placement.backwards, strict=True):
        origin = AxisOrigin(model_axis, taps[model_axis], taps[model_axis])
        turned = torch.arange(origin.size, dtype=torch.float64).flip(0)
        axes.append(origin.at(turned, "border") if backwards else origin)
    return NativeGrid(tuple(shape), tuple(axes))


def _in_file(slabs: Iterator[Slab], placement: Placement, channels: int, *, exclusive: bool) -> Iterator[Slab]:
    """Slabs of the box as slabs of the file; beyond the box is certain background, or no region."""
    axis = axis_of(placement)
    margins = [(box.start, size - box.stop) for box, size in zip(placement.box_in_file, placement.shape, strict=True)]
    before, behind = margins[axis]
    margins[axis] = 0, 0
    beyond = [*chain(*reversed(margins))]
    for slab in slabs:
        values = slab.probabilities
        if any(beyond):
            values = torch.cat([F.pad(values[:1], beyond, value=float(exclusive)), F.pad(values[1:], beyond)])
        yield Slab(slab.start + before, slab.stop + before, values)
    empty = torch.zeros((channels, *(1 if n == axis else size for n, size in enumerate(placement.shape))))
    empty[0] = float(exclusive)
    depth = placement.shape[axis]
    for number in chain(range(before), range(depth - behind, depth)):
        yield Slab(number, number + 1, empty)
