"""Reading studies inside a MONAI `Compose`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple_rep

from rankseg_med.studies import load_image, load_images, load_label_map


class LoadStudyd(MapTransform):
    """Replace paths of images by MetaTensors ``(1, X, Y, Z)``, refusing what would silently spoil a result.

    NIfTI, NRRD, MetaImage and folders of a DICOM series are read; a list of paths becomes a channel each, on one grid.
    Images come as float32, label maps as uint8. MONAI's `LoadImaged` takes 4-D files for channels, lets NaN pass and
    reports a truncated file as whatever its reader raised; this says what is wrong with which file.

    Args:
        keys: Keys that hold paths, or, of images, lists of them.
        is_label: Whether they are label maps: one for all keys, or one per key.
        allow_missing_keys: Whether keys may be absent.
    """

    def __init__(
        self, keys: KeysCollection, is_label: bool | Sequence[bool] = False, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.is_label = ensure_tuple_rep(is_label, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read every key.

        Raises:
            StudyError: A file that cannot be used; the message names it.
            ValueError: Several label maps.
        """
        d = dict(data)
        for key, is_label in self.key_iterator(d, self.is_label):
            value = d[key]
            if isinstance(value, str | PathLike):
                path = Path(value)
                d[key] = load_label_map(path) if is_label else load_image(path)
            elif is_label:
                raise ValueError(f"{key!r}: a study has one label map, got {value!r}")
            else:
                d[key] = load_images([Path(path) for path in value])
        return d


LoadStudyD = LoadStudyDict = LoadStudyd
