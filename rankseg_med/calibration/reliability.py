"""How far probabilities can be taken at their word, from counts alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from rankseg_med.calibration.bins import BINS, bin_of
from rankseg_med.calibration.counts import BinnedVoxels

# Every edge of so many bins of equal width is an edge of those that voxels are counted in.
_MOST_BINS = 64
# Where a probability of 0 or 1 is wrong, the logarithm is taken of this instead.
_SMALLEST = 2.0**-30


@dataclass(frozen=True)
class Reliability:
    r"""What probabilities of regions are worth, of $n$ voxels with probabilities $p$ and truths $y$ (0 or 1).

    Voxels may be weighted; then $n$ is the sum of weights, and every sum has them.

    Attributes:
        count: Reliability diagram: ``(regions, bins)``, voxels in each bin of equal width on [0, 1].
        mean_probability: Mean probability of them; NaN where there are none.
        frequency: Share of them that is positive; NaN where there are none.
        brier: Brier score of each region $\frac1n\sum (p - y)^2$ (Brier, Monthly Weather Review 1950).
        nll: $-\frac1n\sum y\log p + (1 - y)\log(1 - p)$, logarithms of at least $2^{-30}$.
        ece: Expected calibration error, $\sum_b \frac{n_b}{n} |\bar p_b - \bar y_b|$ over the diagram's bins (Naeini et
            al., AAAI 2015).
        volume_ratio: $\sum p / \sum y$: above 1, probabilities promise too much volume. Not finite without any.
    """

    count: Float64[Tensor, "regions bins"]
    mean_probability: Float64[Tensor, "regions bins"]
    frequency: Float64[Tensor, "regions bins"]
    brier: Float64[Tensor, " regions"]
    nll: Float64[Tensor, " regions"]
    ece: Float64[Tensor, " regions"]
    volume_ratio: Float64[Tensor, " regions"]


def reliability(counts: BinnedVoxels, *, bins: int = 16) -> Reliability:
    """Numbers of the reliability of probabilities.

    Within one of the 1,699 bins in which voxels are counted, probabilities are taken to be their mean; they differ from
    it by at most 3 %, so that Brier score and NLL come out within about 0.1 %.

    Args:
        counts: Counts of any voxels: `BinnedVoxels` of a case, ``ReliabilityCounts.every`` of all voxels alike, or
            ``ReliabilityCounts.weighted("cases")``.
        bins: Number of bins of the diagram and the ECE: a power of two, at most 64.

    Raises:
        ValueError: Another number of bins, or there are no voxels.
    """
    if bins not in (1, 2, 4, 8, 16, 32, _MOST_BINS):
        raise ValueError(f"bins must be a power of two from 1 to {_MOST_BINS}, got {bins}")
    total = counts.voxels.sum(1)
    if not bool((total > 0).all()):
        raise ValueError("there are no voxels to tell the reliability from; count at least one case")
    p = counts.mass / counts.voxels.clamp(min=torch.finfo(torch.float64).tiny)
    negative = counts.voxels - counts.positive
    brier = counts.positive * (1 - p) ** 2 + negative * p**2
    nll = -counts.positive * p.clamp(min=_SMALLEST).log() - negative * (1 - p).clamp(min=_SMALLEST).log()
    coarse = _coarse(counts, bins)
    mean_probability, frequency = coarse.mass / coarse.voxels, coarse.positive / coarse.voxels
    return Reliability(
        coarse.voxels,
        mean_probability,
        frequency,
        brier.sum(1) / total,
        nll.sum(1) / total,
        (coarse.mass - coarse.positive).abs().sum(1) / total,
        counts.mass.sum(1) / counts.volume,
    )


def _coarse(counts: BinnedVoxels, bins: int) -> BinnedVoxels:
    """The same voxels in bins of equal width, 1 in the last of them."""
    # The first fine bin of each coarse one.
    edges = bin_of(torch.arange(bins, dtype=torch.float32) / bins)
    index = torch.searchsorted(edges.long(), torch.arange(BINS), right=True) - 1
    rows = (counts.voxels, counts.positive, counts.mass)
    return BinnedVoxels(*(torch.zeros(len(row), bins, dtype=row.dtype).index_add_(1, index, row) for row in rows))
