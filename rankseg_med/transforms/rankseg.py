"""RankSEG decoding as MONAI transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from monai.utils.enums import TransformBackends

from rankseg_med.decode import RankSEGDecoder
from rankseg_med.decode.decoding import Assignment
from rankseg_med.decode.expected_score import Metric, Solver


class RankSEG(Transform):
    """Decode probabilities to the label map with the highest expected Dice or IoU.

    Takes the place of ``AsDiscrete(argmax=True)`` behind ``Activations(softmax=True)``.

    Args:
        metric: ``"dice"`` or ``"iou"``.
        solver: ``"exact"`` or ``"rma"``.
        assignment: ``"greedy"``.
        min_peak: A class whose highest probability does not exceed it stays empty.

    See Also:
        [`RankSEGDecoder`][rankseg_med.decode.RankSEGDecoder] for what the arguments mean and what is decided.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(
        self,
        metric: Metric = "dice",
        solver: Solver = "exact",
        assignment: Assignment = "ascent",
        min_peak: float = 0.5,
    ) -> None:
        self.decoder = RankSEGDecoder(metric, solver, assignment, min_peak)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Decode one volume.

        Args:
            img: Probabilities ``(classes, *spatial)``, floating point, channel 0 the background.

        Returns:
            Label map ``(1, *spatial)`` uint8, of the same kind (array, tensor, MetaTensor with its metadata) and on
            the same device.

        Raises:
            ValueError, TypeError: ``img`` is no probability volume.
        """
        probabilities = convert_to_tensor(img, track_meta=False)
        labels = self.decoder(probabilities)[None]
        return convert_to_dst_type(labels, dst=img, dtype=torch.uint8)[0]


class RankSEGd(MapTransform):
    """Dictionary form of [`RankSEG`][rankseg_med.transforms.RankSEG].

    Args:
        keys: Keys of probability volumes ``(classes, *spatial)``; each is replaced by its label map.
        metric: As for `RankSEG`.
        solver: As for `RankSEG`.
        assignment: As for `RankSEG`.
        min_peak: As for `RankSEG`.
        allow_missing_keys: Whether keys may be absent.

    Example:
        >>> import torch
        >>> from monai.transforms import Activationsd, Compose
        >>> decode = Compose([Activationsd("pred", softmax=True), RankSEGd("pred", metric="dice")])
        >>> decode({"pred": torch.randn(3, 16, 16, 16)})["pred"].shape
        torch.Size([1, 16, 16, 16])
    """

    backend = RankSEG.backend

    def __init__(
        self,
        keys: KeysCollection,
        metric: Metric = "dice",
        solver: Solver = "exact",
        assignment: Assignment = "ascent",
        min_peak: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.decode = RankSEG(metric, solver, assignment, min_peak)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Decode every key; other entries are handed on."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.decode(d[key])
        return d


RankSEGD = RankSEGDict = RankSEGd
