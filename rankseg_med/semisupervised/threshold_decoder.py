"""The published pseudo-labels: a threshold."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rankseg_med.decode import Decoded, check_probabilities


class ThresholdDecoder:
    """The most probable foreground class of every voxel where it reaches a threshold, background elsewhere.

    What LA and pancreas experiments do at 0.5. Ties go to the lowest class.

    Args:
        threshold: In (0, 1].
    """

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], found {threshold}")
        self.threshold = threshold

    @torch.no_grad()
    def decode(self, probabilities: Float[Tensor, "classes *spatial"]) -> Decoded:
        """Decode a multiclass probability volume; errors as for `RankSEGDecoder`. Decides nothing."""
        check_probabilities(probabilities)
        return Decoded(self.labels_of(probabilities), ())

    def labels_of(self, probabilities: Float[Tensor, "classes *any"]) -> UInt8[Tensor, "*any"]:
        """Labels of voxels, however they lie."""
        best, foreground = probabilities[1:].max(0)
        return torch.where(best >= self.threshold, foreground + 1, 0).to(torch.uint8)
