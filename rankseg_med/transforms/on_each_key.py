"""What the dictionary forms of array transforms share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform


class OnEachKey(MapTransform):
    """An array transform on each of some entries.

    Args:
        keys: Keys of these entries.
        transform: Transform of one array.
        allow_missing_keys: Whether keys may be absent.
    """

    def __init__(
        self, keys: KeysCollection, transform: Callable[[Any], NdarrayOrTensor], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transform every key; other entries are handed on."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key])
        return d
