"""Largest-component cleanup as MONAI transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils.enums import TransformBackends

from rankseg_med.cleanup import keep_largest_component
from rankseg_med.transforms.label_map import apply_to_label_map


class KeepLargestComponent(Transform):
    """Keep the largest connected component of labels or groups of labels; the rest becomes background.

    MONAI's `KeepLargestConnectedComponent` changes its input; this one does not, and a group of labels is cleaned as
    one body.

    Args:
        labels: Labels, or groups of labels that are cleaned as one body; ``None`` for every label that occurs. See
            [`keep_largest_component`][rankseg_med.cleanup.keep_largest_component].
        connectivity: 1 for faces, up to the number of spatial axes (the default) for corners.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(self, labels: Sequence[int | Sequence[int]] | None = None, connectivity: int | None = None) -> None:
        self.labels = labels
        self.connectivity = connectivity

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Clean one label map.

        Args:
            img: Label map ``(1, *spatial)``: integer, boolean, or floating point with whole numbers from 0 to 255.

        Returns:
            A new label map of the same kind, dtype and metadata.

        Raises:
            ValueError: Several channels (one-hot), or values that are no labels.
        """
        return apply_to_label_map(img, lambda labels: keep_largest_component(labels, self.labels, self.connectivity))


class KeepLargestComponentd(MapTransform):
    """Dictionary form of [`KeepLargestComponent`][rankseg_med.transforms.KeepLargestComponent].

    Args:
        keys: Keys of label maps ``(1, *spatial)``.
        labels: As for `KeepLargestComponent`.
        connectivity: As for `KeepLargestComponent`.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = KeepLargestComponent.backend

    def __init__(
        self,
        keys: KeysCollection,
        labels: Sequence[int | Sequence[int]] | None = None,
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clean = KeepLargestComponent(labels, connectivity)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clean every key; other entries are handed on."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.clean(d[key])
        return d


KeepLargestComponentD = KeepLargestComponentDict = KeepLargestComponentd
