"""RankSEG decoding as MONAI transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from monai.utils.enums import TransformBackends

from rankseg_med.decode import DecoderName, Metric, make_decoder
from rankseg_med.transforms.on_each_key import OnEachKey

_AXES_OF_A_BATCH = 5

DECISIONS = "rankseg_decisions"
"""Key of a MetaTensor's metadata under which the decisions behind a label map travel, one dictionary a region."""


class RankSEG(Transform):
    """Decode probabilities to the label map with the highest expected Dice or IoU.

    Takes the place of ``AsDiscrete(argmax=True)`` behind ``Activations(softmax=True)``.

    Args:
        metric: ``"dice"`` or ``"iou"``, or one of them per region; or ``"argmax"``, to compare with the usual decoding
            by changing one word.
        options: Further arguments of [`RankSEGDecoder`][rankseg_med.decode.RankSEGDecoder], such as ``coherence``,
            ``presence`` and ``regions``; none for ``"argmax"``.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(self, metric: DecoderName | Sequence[Metric] = "dice", **options: Any) -> None:  # noqa: ANN401
        self.decoder = make_decoder(metric, **options)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Decode one volume.

        Args:
            img: Probabilities ``(classes, *spatial)``, floating point, channel 0 the background (unless multilabel).

        Returns:
            Label map ``(1, *spatial)`` uint8, for multilabel masks ``(classes, *spatial)``, of the same kind (array,
            tensor, MetaTensor with its metadata) and on the same device. A MetaTensor also carries the decisions
            (threshold, expected score, expected volume, ...) as dictionaries in its metadata, under
            ``"rankseg_decisions"``.

        Raises:
            ValueError, TypeError: ``img`` is no probability volume, or a batch of them.
        """
        probabilities = convert_to_tensor(img, track_meta=False)
        if probabilities.ndim == _AXES_OF_A_BATCH:
            raise ValueError(
                f"RankSEG takes one volume (classes, X, Y, Z), got shape {tuple(probabilities.shape)}, which looks "
                "like a batch of them; decode each: [RankSEG()(volume) for volume in decollate_batch(batch)]"
            )
        decoded = self.decoder.decode(probabilities)
        label_map = decoded.label_map
        if label_map.ndim < probabilities.ndim:
            label_map = label_map[None]
        output = convert_to_dst_type(label_map, dst=img, dtype=torch.uint8)[0]
        if isinstance(output, MetaTensor):
            output.meta[DECISIONS] = [asdict(decision) for decision in decoded.decisions]
        return output


class RankSEGd(OnEachKey):
    """Dictionary form of [`RankSEG`][rankseg_med.transforms.RankSEG].

    Args:
        keys: Keys of probability volumes ``(classes, *spatial)``; each is replaced by its label map.
        metric: Metric, as for `RankSEG`.
        allow_missing_keys: Whether keys may be absent.
        options: Options, as for `RankSEG`.

    Examples:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai.transforms import Activationsd, Compose
        >>> from rankseg_med.transforms import KeepLargestComponentd
        >>> decode = Compose(
        ...     [
        ...         Activationsd("pred", softmax=True),
        ...         RankSEGd("pred", metric="dice", regions=[[1, 2], [2]]),  # kidney with tumour, and tumour
        ...         KeepLargestComponentd("pred", labels=[[1, 2]]),
        ...     ]
        ... )
        >>> label_map = decode({"pred": MetaTensor(torch.randn(3, 16, 16, 16))})["pred"]
        >>> label_map.shape
        torch.Size([1, 16, 16, 16])
        >>> [decision["labels"] for decision in label_map.meta["rankseg_decisions"]]
        [(1, 2), (2,)]
    """

    backend = RankSEG.backend

    def __init__(
        self,
        keys: KeysCollection,
        metric: DecoderName | Sequence[Metric] = "dice",
        allow_missing_keys: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(keys, RankSEG(metric, **options), allow_missing_keys)


RankSEGD = RankSEGDict = RankSEGd
