"""Hole filling as MONAI transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils.enums import TransformBackends

from rankseg_med.cleanup import fill_holes
from rankseg_med.transforms.label_map import apply_to_label_map


class FillLabelHoles(Transform):
    """Give background that a label or group encloses the label of the organ.

    MONAI's `FillHoles` leaves background that borders on several labels; this one fills it, and takes a group of
    labels, such as an organ and its tumour, for one body.

    Args:
        labels: Labels, or groups of labels that are one body and are filled with their first label; ``None`` for every
            label that occurs. See [`fill_holes`][rankseg_med.cleanup.fill_holes].
        overwrite: Whether other labels inside a hole are filled too.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(self, labels: Sequence[int | Sequence[int]] | None = None, overwrite: bool = False) -> None:
        self.labels = labels
        self.overwrite = overwrite

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Clean one label map ``(1, *spatial)`` of whole numbers; gives a new one of the same kind.

        Raises:
            ValueError: Several channels (one-hot), or values that are no labels.
        """
        return apply_to_label_map(img, lambda label_map: fill_holes(label_map, self.labels, self.overwrite))


class FillLabelHolesd(MapTransform):
    """Dictionary form of [`FillLabelHoles`][rankseg_med.transforms.FillLabelHoles].

    Args:
        keys: Keys of label maps ``(1, *spatial)``.
        labels: As for `FillLabelHoles`.
        overwrite: As for `FillLabelHoles`.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = FillLabelHoles.backend

    def __init__(
        self,
        keys: KeysCollection,
        labels: Sequence[int | Sequence[int]] | None = None,
        overwrite: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clean = FillLabelHoles(labels, overwrite)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clean every key; other entries are handed on."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.clean(d[key])
        return d


FillLabelHolesD = FillLabelHolesDict = FillLabelHolesd
