"""What pictures of a study are made of: image and label maps, turned, cut to what matters, in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from jaxtyping import Float64, Num, Shaped, UInt8

from rankseg_med.masks import Box, bounding_box

_MARGIN_MM = 30.0
# Of the grey values that are shown; the rest is black or white.
_SHOWN_PERCENTILES = (0.5, 99.5)
_WINDOW_PERCENTILES = (5, 95)
_LEVELS = 255


@dataclass(frozen=True, eq=False)
class StudyView:
    """A study's volumes in canonical order: axes run to the patient's right, front and head.

    Attributes:
        label_map: Label map ``(R, A, S)``, cut to a box around all labels and a margin; whole if there are none.
        affine: From its voxel indices to RAS+ millimetres.
        first_voxel: Index in the whole volume of the first voxel that is shown.
        whole_shape: Shape of the whole volume.
        grey: The image there, 0 to 255; None without an image.
        grey_values: What of the image is 0 and what 255, in its own units.
        window: What of the image is best shown as black and as white: the values within the labels, and as much again
            on either side; all where there are no labels or no image.
        others: What the label map is held against, by what it is, such as ``"reference"``.
    """

    label_map: UInt8[np.ndarray, "R A S"]
    affine: Float64[np.ndarray, "4 4"]
    first_voxel: tuple[int, int, int]
    whole_shape: tuple[int, int, int]
    grey: UInt8[np.ndarray, "R A S"] | None
    grey_values: tuple[float, float]
    window: tuple[float, float]
    others: dict[str, UInt8[np.ndarray, "R A S"]]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along the three axes."""
        right, front, up = map(float, nib.affines.voxel_sizes(self.affine))
        return right, front, up

    @property
    def labels(self) -> list[int]:
        """Labels that are anywhere, in the label map or in another, without the background."""
        present = {int(label) for volume in (self.label_map, *self.others.values()) for label in np.unique(volume)}
        return sorted(present - {0})


def view_study(
    label_map: UInt8[np.ndarray, "X Y Z"],
    affine: Float64[np.ndarray, "4 4"],
    image: Num[np.ndarray, "X Y Z"] | None = None,
    others: Mapping[str, UInt8[np.ndarray, "X Y Z"]] | None = None,
    *,
    ignored_label: int | None = None,
) -> StudyView:
    """Turn and cut a study's volumes, which share a grid, for pictures of it.

    Args:
        label_map: Label map, as it was written.
        affine: From its voxel indices to RAS+ millimetres.
        image: What it was made of; None draws it on black.
        others: Label maps that it is held against, by what they are, such as ``"reference"``.
        ignored_label: What stands for voxels that nothing is said of, and is shown as background; None for nothing.

    Raises:
        ValueError: A volume has another shape.
    """
    own = label_map if ignored_label is None else np.where(label_map == ignored_label, np.uint8(0), label_map)
    given = {"image": image, **(others or {})}
    if unlike := [name for name, volume in given.items() if volume is not None and volume.shape != own.shape]:
        raise ValueError(f"{unlike[0]} must have the label map's shape {own.shape}; bring both to one grid first")
    maps = {"": own, **(others or {})}
    turned = {name: _canonical(volume, affine) for name, volume in maps.items()}
    upright: np.ndarray = nib.as_closest_canonical(nib.Nifti1Image(label_map, affine)).affine
    box = _box(list(turned.values()), upright)
    start = [side.start for side in box]
    cut = {name: np.ascontiguousarray(volume[box]) for name, volume in turned.items()}
    grey, values, window = None, (0.0, 1.0), (0.0, 1.0)
    if image is not None:
        voxels = _canonical(image, affine)[box]
        grey, values = _in_8_bits(voxels)
        labelled = np.logical_or.reduce([labels > 0 for labels in cut.values()])
        window = _window(voxels[labelled], values)
    return StudyView(
        label_map=cut.pop(""),
        affine=upright @ nib.affines.from_matvec(np.eye(3), start),
        first_voxel=(start[0], start[1], start[2]),
        whole_shape=turned[""].shape,
        grey=grey,
        grey_values=values,
        window=window,
        others=cut,
    )


def _canonical(volume: Shaped[np.ndarray, "X Y Z"], affine: np.ndarray) -> Shaped[np.ndarray, "R A S"]:
    turned: np.ndarray = np.asarray(nib.as_closest_canonical(nib.Nifti1Image(volume, affine)).dataobj)
    return turned


def _box(maps: Sequence[UInt8[np.ndarray, "R A S"]], affine: np.ndarray) -> Box:
    tight = bounding_box(*maps)
    if not tight[0].stop:
        return tuple(slice(0, size) for size in maps[0].shape)
    margins = np.ceil(_MARGIN_MM / nib.affines.voxel_sizes(affine)).astype(int)
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, margin, size in zip(tight, margins.tolist(), maps[0].shape, strict=True)
    )


def _in_8_bits(image: Num[np.ndarray, "R A S"]) -> tuple[UInt8[np.ndarray, "R A S"], tuple[float, float]]:
    # The ends of what is there, less single voxels of metal or of nothing at all.
    low, high = map(float, np.percentile(image, _SHOWN_PERCENTILES))
    if not low < high:
        low, high = low, low + 1.0
    levels = (np.clip(image, low, high) - low) * (_LEVELS / (high - low))
    return np.ascontiguousarray(np.rint(levels).astype(np.uint8)), (low, high)


def _window(labelled: Num[np.ndarray, " voxels"], values: tuple[float, float]) -> tuple[float, float]:
    if not labelled.size:
        return values
    low, high = map(float, np.percentile(labelled, _WINDOW_PERCENTILES))
    around = high - low
    low, high = max(values[0], low - around), min(values[1], high + around)
    return (low, high) if low < high else values
