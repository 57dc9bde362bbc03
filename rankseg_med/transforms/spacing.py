"""Resampling to a voxel spacing, axis by axis."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing, to_affine_nd
from monai.transforms import Compose, InvertibleTransform, MapTransform, Spacingd
from monai.utils import TraceKeys, ensure_tuple, ensure_tuple_rep
from monai.utils.enums import TransformBackends
from torch import Tensor

from rankseg_med.transforms.axis_taps import AxisTaps, resample_slices

Interpolation = Literal["bilinear", "nearest"]

# As in MONAI: spacings this close count as equal.
_SAME_SPACING_MM = 1e-3
# Grids whose axes are not quite parallel, by the rounding of their affines, are taken for parallel up to here.
_ASKEW_VOXELS = 0.01


class AxisSpacing(InvertibleTransform):
    """Resample an image or label map to a voxel spacing; its axes keep their directions.

    Values, shape and affine are those of MONAI's ``Spacing(pixdim, padding_mode="border")``; of memory this takes the
    input, the output and a few slices. Two deviations are meant: a label map keeps its dtype, and an affine with shear
    (of a tilted gantry) keeps it, so that axes stay aligned. Where an extent falls midway between two sizes, or a voxel
    of a label map between two others, the even one is taken; in MONAI rounding errors decide.

    Args:
        pixdim: Spacing in mm, one for all axes or one each; of too few, the last stands for the rest. An axis of 0 or
            less, or one within 0.001 mm of its spacing already, stays as it is.
        mode: ``"bilinear"`` for images, ``"nearest"`` for label maps.

    Raises:
        ValueError: Another mode.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(self, pixdim: Sequence[float] | float, mode: Interpolation = "bilinear") -> None:
        if mode not in get_args(Interpolation):
            raise ValueError(f"mode must be one of {', '.join(get_args(Interpolation))}, got {mode!r}")
        self.pixdim = tuple(float(spacing) for spacing in ensure_tuple(pixdim))
        self.mode = mode

    def __call__(
        self, img: Shaped[MetaTensor, "channels *spatial"], spatial_size: Sequence[int] | None = None
    ) -> Shaped[MetaTensor, "channels *resampled"]:
        """Resample one volume.

        Args:
            img: Carries its affine. Left as it is.
            spatial_size: Shape to give, where another than the extent's is wanted.

        Returns:
            float32 if linear, else of the input's dtype; the last voxel of an axis lies within half a voxel of the
            input's. Shares memory with the input where no axis changes.

        Raises:
            TypeError: Not a MetaTensor, so that its spacing is not known.
        """
        if not isinstance(img, MetaTensor):
            raise TypeError(f"AxisSpacing needs a MetaTensor with an affine, got {type(img).__name__}; load it so")
        shape = img.shape[1:]
        rank = len(shape)
        affine = to_affine_nd(rank, img.affine.numpy())
        spacing_mm = affine_to_spacing(affine, rank)
        wanted_mm = np.array([*self.pixdim, *[self.pixdim[-1]] * rank][:rank])
        kept = (wanted_mm <= 0) | (abs(wanted_mm - spacing_mm) <= _SAME_SPACING_MM)
        scale = np.where(kept, 1.0, wanted_mm / spacing_mm)
        extent = (np.array(shape) - 1) * np.where(kept, 1.0, spacing_mm / wanted_mm)
        size = spatial_size or [round(voxels) for voxels in (extent + 1).round(6).tolist()]

        coordinates = [factor * torch.arange(n, dtype=torch.float64) for factor, n in zip(scale, size, strict=True)]
        meta = self.track_transform_meta(
            img,
            sp_size=size,
            affine=np.diag([*scale, 1.0]),
            extra_info={"mode": self.mode, "padding_mode": "border", "src_affine": img.affine.clone()},
            orig_size=tuple(shape),
            transform_info=self.get_transform_info(),
        )
        return MetaTensor(_resample(img.as_tensor(), coordinates, self.mode)).copy_meta_from(meta)

    def inverse(self, data: Shaped[MetaTensor, "channels *resampled"]) -> Shaped[MetaTensor, "channels *spatial"]:
        """Resample a volume on the grid that `__call__` gave to the grid that it got."""
        operation = self.pop_transform(data)
        info, size = operation[TraceKeys.EXTRA_INFO], operation[TraceKeys.ORIG_SIZE]
        coordinates = axis_coordinates(data.affine, info["src_affine"], size)
        output = MetaTensor(_resample(data.as_tensor(), coordinates, info["mode"])).copy_meta_from(data)
        output.affine = info["src_affine"]
        return output


class AxisSpacingd(MapTransform, InvertibleTransform):
    """Dictionary form of [`AxisSpacing`][rankseg_med.transforms.AxisSpacing], in place of MONAI's `Spacingd`.

    Args:
        keys: Keys of images or label maps with metadata.
        pixdim: As for `AxisSpacing`.
        mode: As for `AxisSpacing`, one for all keys or one per key.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = AxisSpacing.backend

    def __init__(
        self,
        keys: KeysCollection,
        pixdim: Sequence[float] | float,
        mode: Interpolation | Sequence[Interpolation] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spacings = tuple(AxisSpacing(pixdim, each) for each in ensure_tuple_rep(mode, len(self.keys)))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample every key; volumes of one shape and spacing get one shape."""
        d = dict(data)
        first: MetaTensor | None = None
        size: Sequence[int] | None = None
        for key, spacing in self.key_iterator(d, self.spacings):
            volume = d[key]
            alike = (
                first is not None
                and isinstance(volume, MetaTensor)
                and volume.shape[1:] == first.shape[1:]
                and np.allclose(volume.pixdim, first.pixdim, atol=_SAME_SPACING_MM)
            )
            d[key] = spacing(volume, size if alike else None)
            if first is None:
                first, size = volume, d[key].shape[1:]
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample every key to the grid that it had."""
        d = dict(data)
        for key, spacing in self.key_iterator(d, self.spacings):
            d[key] = spacing.inverse(d[key])
        return d


AxisSpacingD = AxisSpacingDict = AxisSpacingd


def spacing_made_by(preprocessing: Compose) -> tuple[float, ...] | None:
    """The distance between voxels, in mm, that a preprocessing resamples to; None if it does not.

    Args:
        preprocessing: Transforms. Of the resampling ones (`AxisSpacingd`, MONAI's `Spacingd`) the last one counts.

    Returns:
        As many entries as the transform was given; one that is not positive keeps an axis as it is.
    """
    wanted = None
    for transform in preprocessing.flatten().transforms:
        if isinstance(transform, AxisSpacingd):
            wanted = transform.spacings[0].pixdim
        elif isinstance(transform, Spacingd):
            wanted = transform.spacing_transform.pixdim
    return None if wanted is None else tuple(float(step) for step in wanted)


def axis_coordinates(
    source_affine: NdarrayOrTensor, target_affine: NdarrayOrTensor, target_shape: Sequence[int]
) -> list[Float64[Tensor, " size"]]:
    """Where the voxels of one grid lie in another one with parallel axes.

    Args:
        source_affine: Voxel indices to mm of the grid to count in.
        target_affine: Affine of the grid whose voxels are asked for.
        target_shape: Its shape.

    Returns:
        Per axis, the coordinate of each voxel of the target, in voxels of the source.

    Raises:
        ValueError: The axes are not parallel.
    """
    rank = len(target_shape)
    between = np.linalg.solve(*(to_affine_nd(rank, np.asarray(affine)) for affine in (source_affine, target_affine)))
    linear, shift = between[:rank, :rank], between[:rank, rank]
    scale = np.diag(linear)
    askew = abs(linear - np.diag(scale)) @ (np.array(target_shape) - 1)
    if (askew > _ASKEW_VOXELS).any():
        raise ValueError(f"the axes of both grids must be parallel, but they part by {askew.max():.3g} voxels")
    return [
        torch.arange(size, dtype=torch.float64) * factor + start
        for size, factor, start in zip(target_shape, scale, shift, strict=True)
    ]


def _resample(volume: Tensor, coordinates: Sequence[Tensor], mode: Interpolation) -> Tensor:
    make = AxisTaps.nearest if mode == "nearest" else AxisTaps.linear
    dtype = volume.dtype if mode == "nearest" else torch.float32
    taps = [make(places, size, "border") for places, size in zip(coordinates, volume.shape[1:], strict=True)]
    if all(axis.is_identity for axis in taps):
        return volume.to(dtype)
    output = volume.new_empty((len(volume), *map(len, coordinates)), dtype=dtype)
    planes = (plane.to(dtype) for plane in volume.unbind(1))
    for number, plane in resample_slices(planes, taps[0], taps[1:]):
        output[:, number] = plane
    return output
