r"""Expected Dice and IoU of a set of voxels of one region under the coherent posterior.

Independence given the probabilities $p_i$ is one extreme. This is the other, with the same probabilities: one number
$u \sim U(0, 1)$ for the whole case, and the truth is a level set of the network's own, $G_u = \{i : p_i > u\}$, of
volume $N(u)$. A set $A$ of $t$ voxels scores, in expectation,

- Dice: $\int_0^1 \frac{2 |A \cap G_u|}{t + N(u)} \, du$,
- IoU: $\int_0^1 \frac{|A \cap G_u|}{t + N(u) - |A \cap G_u|} \, du$,

and the truth is empty with probability $1 - \max p$. For a given $t$ the $t$ most probable voxels have the largest
$|A \cap G_u|$ at every $u$, so that the best set is a level set, and of two level sets of volumes $a \le b$ the scores
are $2 a / (a + b)$ and $a / b$. The integral is a sum over the levels.

Not every threshold needs that sum. As functions of $\log t$, each term is convex on either side of its kink at
$t = N(u)$. Between two thresholds that keep $a < b$ voxels, the sum therefore exceeds the higher of both ends by at
most what the terms with a kink in between do: their weight times $1 - s(a, b)$, $s$ being the score of level sets of
these volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rankseg_med.decode.expected_score import Bounds, Metric
from rankseg_med.decode.histogram import Distribution, LevelSets

_FIRST_BLOCKS = 32


def coherent_scores(
    distribution: Distribution, metric: Metric, coherence: float, others: Bounds
) -> Float64[Tensor, " n"]:
    """Coherent scores of those thresholds that could be the best for a mixture of both posteriors.

    Args:
        distribution: Distribution of ``n`` levels, at least one.
        metric: ``"dice"`` or ``"iou"``.
        coherence: Weight of the coherent score in the mixture.
        others: Bounds of what each threshold's other score adds to the mixture.

    Returns:
        ``(n,)`` scores in [0, 1]; minus infinity where a bound shows that a threshold is not the best.
    """
    sets, n = distribution.level_sets, len(distribution.levels)
    edges = torch.cat([distribution.probabilities, torch.zeros(1, dtype=torch.float64)])
    scores = torch.full_like(others.lower, -torch.inf)
    best = -torch.inf

    def look_at(thresholds: Int64[Tensor, " some"]) -> None:
        nonlocal best
        if len(thresholds):
            scores[thresholds] = found = _of_level_sets(sets, thresholds, metric)
            best = max(best, float((others.lower[thresholds] + coherence * found).max()))

    padded = torch.nn.functional.pad(others.upper, (0, -n % (1 << (n - 1).bit_length())), value=-torch.inf)
    step = 1 << max(0, (n - 1).bit_length() - _FIRST_BLOCKS.bit_length() + 1)
    blocks = torch.arange(-(-n // step))
    look_at(torch.cat([blocks * step, torch.tensor([n - 1])]))
    while step > 1:
        first, last = blocks * step, (blocks * step + step).clamp_max(n - 1)
        inside = edges[first] - edges[last]
        bump = inside * (1 - _score(sets.volumes[first], sets.volumes[last], metric))
        most = padded.view(-1, step)[blocks].amax(1) + coherence * (torch.maximum(scores[first], scores[last]) + bump)
        blocks, step = blocks[most >= best], step // 2
        blocks = torch.cat([2 * blocks, 2 * blocks + 1])
        blocks = blocks[blocks * step < n]
        middle = (blocks * step)[blocks % 2 == 1]
        look_at(middle)
    return scores


def coherent_score_of_threshold(distribution: Distribution, which: int, metric: Metric) -> float:
    """Expected score of keeping every voxel from the most probable down to the level at place ``which``."""
    return float(_of_level_sets(distribution.level_sets, torch.tensor([which]), metric))


def coherent_score_of_mask(distribution: Distribution, kept: Int64[Tensor, " levels"], metric: Metric) -> float:
    """Expected score of any set of voxels, not only of the most probable ones.

    Args:
        distribution: Distribution of all voxels.
        kept: Voxels of the set by level; those at level 0 are in no level set.
        metric: ``"dice"`` or ``"iou"``.

    Returns:
        Score in [0, 1]; 0 for an empty set.
    """
    sets = distribution.level_sets
    common = kept[1:].flip(0).cumsum(0).flip(0)[sets.levels - 1].double()
    of_all = common[-1:].expand(len(sets.weights) - len(common)) if len(common) else sets.weights * 0
    common, volume = torch.cat([common, of_all]), float(kept.sum())
    both = volume + sets.volumes
    score = 2 * common / both if metric == "dice" else common / (both - common)
    return float(sets.weights @ score)


def volume_quantile(distributions: Sequence[Distribution], quantile: float) -> float:
    """Volume in voxels that the truth does not exceed with so high a probability.

    Args:
        distributions: One, whose quantile is N(1 - quantile); or several models', each as likely as the others.
        quantile: Probability in (0, 1).
    """
    if len(distributions) == 1:
        (one,) = distributions
        return float(one.counts[: int((one.probabilities > 1 - quantile).sum())].sum())
    nothing = torch.zeros(1, dtype=torch.float64)
    volumes = torch.cat([torch.cat([nothing, one.level_sets.volumes]) for one in distributions])
    weights = torch.cat([torch.cat([nothing + 1 - one.peak, one.level_sets.weights]) for one in distributions])
    volumes, order = volumes.sort()
    reached = weights[order].cumsum(0) >= quantile * len(distributions)
    return float(volumes[reached][0])


def _of_level_sets(sets: LevelSets, which: Int64[Tensor, " some"], metric: Metric) -> Float64[Tensor, " some"]:
    # One by one: torch is many times slower where it spreads a number over each row.
    return torch.stack([_score(volume, sets.volumes, metric) @ sets.weights for volume in sets.volumes[which]])


def _score(one: Tensor, other: Tensor, metric: Metric) -> Float64[Tensor, "*n"]:
    """Score of level sets of these volumes, of which the larger holds the smaller."""
    if metric == "dice":
        return torch.minimum(one, other).mul_(2).div_(one + other)
    return torch.minimum(one, other).div_(torch.maximum(one, other))
