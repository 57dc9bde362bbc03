"""From a teacher's probabilities to labels that a student can learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rankseg_med.cleanup import keep_largest_component
from rankseg_med.decode import (
    ArgmaxDecoder,
    Blocks,
    Decision,
    Decoded,
    DecodeSession,
    KeptVoxels,
    Objective,
    PointwiseDecoder,
    ProbabilityHistogram,
    RankSEGDecoder,
    Regions,
    TensorBlocks,
    ThresholdDecoder,
)
from rankseg_med.semisupervised.voxel_runs import voxel_runs

PseudoDecoder = Literal["argmax", "threshold", "rankseg"]


@dataclass(frozen=True)
class PseudoLabel:
    """Pseudo-label of one volume, or of a batch of them with a leading batch axis on every tensor.

    Attributes:
        label_map: ``(*spatial)`` uint8; the ignore index where the label is too uncertain.
        confidence: ``(*spatial)`` float32, probability of the label that the voxel got, in [0, 1].
        weight: ``(*spatial)`` float32, how much the voxel is to count in a loss: 0 where ignored, else 1 or, if the
            labeller weighs by it, the confidence.
        expected_dice: ``(foreground classes)`` float64, expected Dice of the label map after cleanup and before
            voxels are ignored, if the probabilities are right; in [0, 1].
        decisions: What RankSEG decided, before cleanup; one per foreground class. Empty for other decoders. Of a
            batch: one volume's after the other.
    """

    label_map: UInt8[Tensor, "*spatial"]
    confidence: Float[Tensor, "*spatial"]
    weight: Float[Tensor, "*spatial"]
    expected_dice: Float[Tensor, "*classes"]
    decisions: tuple[Decision, ...]


class PseudoLabeller:
    """Decode, clean up, and say how far to trust it.

    One object for all uses: `label_batch` inside training, `label_volume` for whole volumes, `label_session` for those
    that were collected slab by slab. Probabilities stay on their device; only a byte a voxel travels to the CPU and
    back, for the components.

    Args:
        decoder: ``"rankseg"``: highest expected Dice of independent voxels. ``"argmax"``. ``"threshold"``: see
            `ThresholdDecoder`. Or any decoder of exclusive classes, such as ``RankSEGDecoder("dice")``, which is
            coherent.
        threshold: Threshold of ``"threshold"``, in (0, 1].
        largest_component: What to keep the largest connected component of: labels, each on its own, and groups of
            labels that are one body, such as ``[[1, 2]]``. True: every label on its own. False: no cleanup.
        min_confidence: Least confidence, in [0, 1]; voxels whose label has a lower probability are ignored. Background
            that cleanup made of a confident component has a low one, so it is ignored too.
        weight_by_confidence: Whether voxels count by their confidence instead of alike.
        ignore_index: 1 to 255, what ignored voxels hold; no class of its own.
        empty_score: Score, in [0, 1], of a class that neither the pseudo-label nor the truth has: it counts in expected
            Dice, and ``"rankseg"`` decodes for it.

    Raises:
        ValueError: An option is out of its range, or the decoder is of independent channels.

    Examples:
        >>> foreground = torch.tensor([[0.98] * 60 + [0.45] * 30 + [0.001] * 900])
        >>> probabilities = torch.stack([1 - foreground, foreground])
        >>> for decoder in ("argmax", "rankseg"):
        ...     label = PseudoLabeller(decoder).label_volume(probabilities)
        ...     print(decoder, int(label.label_map.sum()), f"{float(label.expected_dice[0]):.3f}")
        argmax 60 0.883
        rankseg 90 0.886
    """

    def __init__(
        self,
        decoder: PseudoDecoder | RankSEGDecoder | PointwiseDecoder = "rankseg",
        *,
        threshold: float = 0.5,
        largest_component: bool | Sequence[int | Sequence[int]] = True,
        min_confidence: float = 0.0,
        weight_by_confidence: bool = False,
        ignore_index: int = 255,
        empty_score: float = 0.0,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"min_confidence must lie in [0, 1], got {min_confidence}")
        if not 1 <= ignore_index <= 255:
            raise ValueError(f"ignore_index must be 1 to 255 (label maps are uint8, 0 is background): {ignore_index}")
        self.decoder = _make_decoder(decoder, threshold, empty_score)
        self.largest_component = largest_component
        self.min_confidence = min_confidence
        self.weight_by_confidence = weight_by_confidence
        self.ignore_index = ignore_index
        self.empty_score = empty_score

    @torch.no_grad()
    def label_volume(self, probabilities: Float[Tensor, "classes *spatial"]) -> PseudoLabel:
        """Pseudo-label of one volume.

        Args:
            probabilities: ``(classes, *spatial)`` with two or three spatial axes; class 0 is the background; values in
                [0, 1] that sum to one over classes.

        Raises:
            TypeError: Not a floating-point tensor.
            ValueError: Not a probability volume, or one of so many classes that ``ignore_index`` is among them.
        """
        decoded = self.decoder.decode(probabilities)
        return self._label(TensorBlocks(probabilities), decoded)

    @torch.no_grad()
    def label_session(self, session: DecodeSession) -> PseudoLabel:
        """Pseudo-label of a volume that a session holds, with no copy of it in floating point.

        Args:
            session: Session of a `RankSEGDecoder` with mode "multiclass", complete; whatever that one would decode, the
                labels are this labeller's. It stays open.

        Returns:
            That of `label_volume` on the session's probabilities, which are rounded to 16 bits.

        Raises:
            ValueError: Slices are missing, or ``ignore_index`` is one of the classes.
        """
        session.check_complete()
        (blocks,) = session.volumes()
        if isinstance(self.decoder, RankSEGDecoder):
            decoded = self.decoder.decode_blocks([blocks], session.spatial_shape)
        else:
            labels = torch.cat([self.decoder.rule(classes) for _, classes in voxel_runs(blocks)])
            decoded = Decoded(labels.reshape(session.spatial_shape), ())
        return self._label(blocks, decoded)

    def label_batch(self, probabilities: Float[Tensor, "batch classes *spatial"]) -> PseudoLabel:
        """Pseudo-labels of a batch, each volume decoded by itself; input and errors as for `label_volume`."""
        labels = [self.label_volume(volume) for volume in probabilities]
        return PseudoLabel(
            label_map=torch.stack([label.label_map for label in labels]),
            confidence=torch.stack([label.confidence for label in labels]),
            weight=torch.stack([label.weight for label in labels]),
            expected_dice=torch.stack([label.expected_dice for label in labels]),
            decisions=tuple(decision for label in labels for decision in label.decisions),
        )

    def _label(self, blocks: Blocks, decoded: Decoded) -> PseudoLabel:
        """Clean the label map up, and judge it by the probabilities."""
        if self.ignore_index < blocks.num_classes:
            raise ValueError(f"ignore_index {self.ignore_index} is one of the {blocks.num_classes} classes")
        label_map = self._clean(decoded.label_map)
        confidence, expected_dice = _judged(blocks, label_map, self.empty_score)
        ignored = confidence < self.min_confidence
        trusted = confidence if self.weight_by_confidence else torch.ones_like(confidence)
        return PseudoLabel(
            label_map=label_map.masked_fill(ignored, self.ignore_index),
            confidence=confidence,
            weight=trusted.masked_fill(ignored, 0.0),
            expected_dice=expected_dice,
            decisions=decoded.decisions,
        )

    def _clean(self, label_map: UInt8[Tensor, "*spatial"]) -> UInt8[Tensor, "*spatial"]:
        if self.largest_component is False:
            return label_map
        bodies = None if self.largest_component is True else self.largest_component
        cleaned: np.ndarray = keep_largest_component(label_map.cpu().numpy(), bodies)
        return torch.from_numpy(cleaned).to(label_map.device)


def _make_decoder(
    decoder: PseudoDecoder | RankSEGDecoder | PointwiseDecoder, threshold: float, empty_score: float
) -> RankSEGDecoder | PointwiseDecoder:
    if decoder == "argmax":
        return ArgmaxDecoder()
    if decoder == "threshold":
        return ThresholdDecoder(threshold)
    if decoder == "rankseg":
        return RankSEGDecoder("dice", coherence=0.0, empty_score=empty_score)
    if not isinstance(decoder, RankSEGDecoder | PointwiseDecoder):
        raise ValueError(f"decoder must be argmax, threshold, rankseg or a decoder, got {decoder!r}")
    if not decoder.exclusive:
        raise ValueError(
            f"decoder must be of exclusive classes, since a pseudo-label has one label a voxel, got {decoder!r}; take "
            "one that is not for independent channels"
        )
    return decoder


def _judged(
    blocks: Blocks, label_map: UInt8[Tensor, "*spatial"], empty_score: float
) -> tuple[Float[Tensor, "*spatial"], Float[Tensor, " foreground"]]:
    """Probability of every voxel's label, and expected Dice of every foreground class, whatever made the label map."""
    labels, classes = label_map.flatten(), blocks.num_classes
    regions = Regions.of(classes, None)
    histogram = ProbabilityHistogram.empty(classes - 1, 0, blocks.device)
    kept = KeptVoxels.none(regions, blocks.device)
    confidence = torch.empty(labels.shape, device=blocks.device)
    for run, p in voxel_runs(blocks):
        histogram.count(p[1:])
        kept.add(regions, p[1:], labels[run])
        confidence[run] = p.gather(0, labels[run].long()[None])[0]
    histogram = histogram.cpu()
    distributions = [histogram.distribution(region) for region in range(classes - 1)]
    expected = kept.expected_scores(distributions, [Objective("dice", empty_score=empty_score)] * (classes - 1))
    return confidence.reshape(label_map.shape), torch.tensor(expected, dtype=torch.float64)
