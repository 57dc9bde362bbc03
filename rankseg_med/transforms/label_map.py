"""How a function of label map arrays becomes a MONAI transform."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Shaped
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.utils import convert_to_dst_type, convert_to_numpy


def apply_to_label_map(
    img: NdarrayOrTensor, clean: Callable[[Shaped[np.ndarray, "*spatial"]], Shaped[np.ndarray, "*spatial"]]
) -> NdarrayOrTensor:
    """Clean one label map.

    Args:
        img: Label map ``(1, *spatial)``: integer, boolean, or floating point with whole numbers from 0 to 255.
        clean: From array to new array, both ``(*spatial)`` integer or boolean.

    Returns:
        A new label map ``(1, *spatial)`` of the same kind, dtype and metadata.

    Raises:
        ValueError: Several channels (one-hot), or values that are no labels.
    """
    if img.shape[0] != 1:
        raise ValueError(
            f"cleanup needs a label map (1, *spatial), got {img.shape[0]} channels; "
            "clean one-hot volumes before AsDiscrete(to_onehot=...)"
        )
    values = convert_to_numpy(img)[0]
    labels = values
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # NaN, and what uint8 cannot hold, differ below
            labels = values.astype(np.uint8)
        if not np.array_equal(labels, values):
            raise ValueError("cleanup needs whole-number labels from 0 to 255; was a probability volume passed?")
    return convert_to_dst_type(clean(labels)[None], dst=img)[0]


def spacing_mm_of(img: NdarrayOrTensor) -> tuple[float, ...]:
    """Distance of neighbouring voxels along each spatial axis of ``(1, *spatial)``, in mm.

    Raises:
        TypeError: Not a MetaTensor, so that its spacing is not known.
    """
    if not isinstance(img, MetaTensor):
        raise TypeError(
            f"volumes and distances in mm need a MetaTensor, whose affine tells the spacing, got {type(img).__name__}; "
            "load with LoadStudyd or LoadImaged, or wrap it: MetaTensor(label_map, affine=affine)"
        )
    return tuple(affine_to_spacing(img.affine, img.ndim - 1).tolist())
