"""Keeping what touches its organ, as MONAI transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils.enums import TransformBackends

from rankseg_med.cleanup import keep_touching
from rankseg_med.transforms.label_map import apply_to_label_map


class KeepTouching(Transform):
    """Set the components of labels that neither touch nor lie in their organ to background.

    Args:
        labels: What to clean: labels, or groups of labels that are one body. See
            [`keep_touching`][rankseg_med.cleanup.keep_touching].
        organ: The label, or labels, that each component must be a neighbour of.
        connectivity: 1 for faces, up to the number of spatial axes (the default) for corners.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(
        self, labels: Sequence[int | Sequence[int]], organ: int | Sequence[int], connectivity: int | None = None
    ) -> None:
        self.labels = labels
        self.organ = organ
        self.connectivity = connectivity

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Clean one label map ``(1, *spatial)`` of whole numbers; gives a new one of the same kind.

        Raises:
            ValueError: Several channels (one-hot), or values that are no labels.
        """
        return apply_to_label_map(
            img, lambda label_map: keep_touching(label_map, self.labels, self.organ, self.connectivity)
        )


class KeepTouchingd(MapTransform):
    """Dictionary form of [`KeepTouching`][rankseg_med.transforms.KeepTouching].

    Args:
        keys: Keys of label maps ``(1, *spatial)``.
        labels: As for `KeepTouching`.
        organ: As for `KeepTouching`.
        connectivity: As for `KeepTouching`.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = KeepTouching.backend

    def __init__(
        self,
        keys: KeysCollection,
        labels: Sequence[int | Sequence[int]],
        organ: int | Sequence[int],
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clean = KeepTouching(labels, organ, connectivity)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clean every key; other entries are handed on."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.clean(d[key])
        return d


KeepTouchingD = KeepTouchingDict = KeepTouchingd
