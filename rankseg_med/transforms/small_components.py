"""Removing small components, as MONAI transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils.enums import TransformBackends

from rankseg_med.cleanup import remove_small_components
from rankseg_med.transforms.label_map import apply_to_label_map, spacing_mm_of


class RemoveSmallComponents(Transform):
    """Set connected components of less than a volume to background.

    MONAI's `RemoveSmallObjects` takes one-hot volumes and cleans all channels alike; this one takes label maps, and
    labels or groups of them.

    Args:
        minimum_ml: Smallest volume in millilitres that stays.
        labels: Labels, or groups of labels that are cleaned as one body; ``None`` for every label that occurs. See
            [`remove_small_components`][rankseg_med.cleanup.remove_small_components].
        connectivity: 1 for faces, up to the number of spatial axes (the default) for corners.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(
        self,
        minimum_ml: float,
        labels: Sequence[int | Sequence[int]] | None = None,
        connectivity: int | None = None,
    ) -> None:
        self.minimum_ml = minimum_ml
        self.labels = labels
        self.connectivity = connectivity

    def __call__(self, img: MetaTensor) -> NdarrayOrTensor:
        """Clean one label map ``(1, *spatial)`` of whole numbers, whose affine tells its spacing; gives a new one.

        Raises:
            TypeError: Not a MetaTensor.
            ValueError: Several channels (one-hot), or values that are no labels.
        """
        spacing_mm = spacing_mm_of(img)
        return apply_to_label_map(
            img,
            lambda label_map: remove_small_components(
                label_map, spacing_mm, self.minimum_ml, self.labels, self.connectivity
            ),
        )


class RemoveSmallComponentsd(MapTransform):
    """Dictionary form of [`RemoveSmallComponents`][rankseg_med.transforms.RemoveSmallComponents].

    Args:
        keys: Keys of label maps ``(1, *spatial)`` with an affine.
        minimum_ml: As for `RemoveSmallComponents`.
        labels: As for `RemoveSmallComponents`.
        connectivity: As for `RemoveSmallComponents`.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = RemoveSmallComponents.backend

    def __init__(
        self,
        keys: KeysCollection,
        minimum_ml: float,
        labels: Sequence[int | Sequence[int]] | None = None,
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clean = RemoveSmallComponents(minimum_ml, labels, connectivity)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clean every key; other entries are handed on."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.clean(d[key])
        return d


RemoveSmallComponentsD = RemoveSmallComponentsDict = RemoveSmallComponentsd
