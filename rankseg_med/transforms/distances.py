"""How far each voxel is from the boundary of each class, for losses that need it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import edt
import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_numpy, ensure_tuple_rep
from monai.utils.enums import TransformBackends

from rankseg_med.transforms.label_map import spacing_mm_of


class SignedDistances(Transform):
    r"""Signed distance of every voxel to the boundary of every class, in mm: negative inside, positive outside.

    $\phi_{ic} = -\min_{j \notin c} \|x_i - x_j\|$ for a voxel $i$ of class $c$, $\min_{j \in c} \|x_i - x_j\|$ for any
    other, between centres of voxels. A class that the label map lacks, or consists of, has no boundary, and zeros.

    Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019. Their code leaves an absent class at
    zero too, and takes 1 from the distances inside, which is a voxel at a spacing of 1, but would turn the sign of
    voxels thinner than 1 mm; here both sides are alike.

    Args:
        num_classes: Classes, with the background.

    Raises:
        ValueError: Less than two classes.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(self, num_classes: int) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, the background's and one more, got {num_classes}")
        self.num_classes = num_classes

    def __call__(self, img: MetaTensor) -> Float32[torch.Tensor, "classes *spatial"]:
        """Maps of one label map.

        Args:
            img: Label map ``(1, *spatial)`` in two or three dimensions, whose affine tells its spacing.

        Returns:
            The maps ``(classes, *spatial)``, on the CPU.

        Raises:
            TypeError: Not a MetaTensor.
            ValueError: Several channels (one-hot).
        """
        if img.shape[0] != 1:
            raise ValueError(f"distances need a label map (1, *spatial), got {img.shape[0]} channels")
        spacing_mm = spacing_mm_of(img)
        # edt reads arrays in C order.
        labels: Shaped[np.ndarray, "*spatial"] = np.ascontiguousarray(convert_to_numpy(img)[0])
        maps = [_signed_distances_mm(labels == label, spacing_mm) for label in range(self.num_classes)]
        return torch.from_numpy(np.stack(maps))


class SignedDistancesd(MapTransform):
    """Dictionary form of [`SignedDistances`][rankseg_med.transforms.SignedDistances], which adds an entry.

    Args:
        keys: Keys of label maps ``(1, *spatial)`` with an affine.
        num_classes: As for `SignedDistances`.
        output_keys: Keys of the maps, as many as there are label maps.
        allow_missing_keys: Whether keys may be absent.

    Raises:
        ValueError: Maps of several keys would have one key.
    """

    backend = SignedDistances.backend

    def __init__(
        self,
        keys: KeysCollection,
        num_classes: int,
        output_keys: KeysCollection = "distances_mm",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))
        if len(set(self.output_keys)) < len(self.output_keys):
            raise ValueError(f"output_keys must differ, one for each of {len(self.keys)} keys, got {self.output_keys}")
        self.transform = SignedDistances(num_classes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps of every key; other entries are handed on."""
        d = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.transform(d[key])
        return d


SignedDistancesD = SignedDistancesDict = SignedDistancesd


def _signed_distances_mm(
    mask: Bool[np.ndarray, "*spatial"], spacing_mm: tuple[float, ...]
) -> Float32[np.ndarray, "*spatial"]:
    if mask.all() or not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    inside, outside = (edt.edt(voxels, anisotropy=spacing_mm) for voxels in (mask, ~mask))
    distances: Float32[np.ndarray, "*spatial"] = outside - inside
    return distances
