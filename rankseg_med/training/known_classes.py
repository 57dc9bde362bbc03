"""Labels that no class of the config stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from rankseg_med.losses import WEIGHT
from rankseg_med.studies import StudyError

# Interpolation may leave weights so far below 0, as a share of the largest.
_ROUNDING = 1e-6


class KnownClasses(Transform):
    """Makes sure that every voxel of an item's label map, or the image as a whole, has a class, or counts for nothing.

    Args:
        num_classes: Number of classes, with the background.
        ignored: Label whose voxels the loss leaves out, if there is one.
        is_weighted: Whether the loss leaves out voxels of weight 0.
    """

    def __init__(self, num_classes: int, ignored: int | None = None, *, is_weighted: bool = False) -> None:
        self.num_classes = num_classes
        self.ignored = ignored
        self.is_weighted = is_weighted

    def __call__(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """The item as it is.

        Args:
            item: With ``label``, ``(1, *spatial)`` or the index of one class, and, if voxels are weighted, ``weight``
                of the same shape; other entries are not looked at.

        Raises:
            StudyError: A label is none of the classes, or a weight is not finite or below 0 by more than rounding.
        """
        label = torch.as_tensor(item["label"])
        strange = label >= self.num_classes
        if self.ignored is not None:
            strange &= label != self.ignored
        if self.is_weighted:
            weights = torch.as_tensor(item[WEIGHT])
            least = -_ROUNDING * weights.nan_to_num(0.0, 0.0, 0.0).abs().max()
            refused = weights[~(weights.isfinite() & (weights >= least))]
            if len(refused):
                raise StudyError(
                    f"{_name_of(item, WEIGHT)}: weights of voxels must be finite and at least 0, but one is "
                    f"{float(refused[0]):g}; give voxels that are to count for nothing the weight 0"
                )
            strange &= weights > 0
        if strange.any():
            raise StudyError(
                f"{_name_of(item, 'label')}: has label {int(label[strange].max())}, but the config has "
                f"{self.num_classes} classes; name it in label_names, or, to learn nothing from its voxels, take "
                "rankseg_med.semisupervised.IgnoringDiceCELoss alone (methods, validation and most other losses need a "
                "class for every voxel)"
            )
        return item


def _name_of(item: Mapping[str, Any], entry: str) -> str:
    content = item[entry]
    return str(content.meta["filename_or_obj"] if isinstance(content, MetaTensor) else item["case_id"])
