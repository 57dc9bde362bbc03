"""From a histogram to one threshold per region, and what is reported of the result."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor

from rankseg_med.decode.coherent_score import coherent_score_of_threshold
from rankseg_med.decode.expected_score import Metric
from rankseg_med.decode.histogram import Distribution
from rankseg_med.decode.levels import LEVELS
from rankseg_med.decode.objective import Objective


@dataclass(frozen=True)
class Threshold:
    """The best threshold of one region by itself.

    Attributes:
        level: Lowest kept probability level; ``LEVELS`` when nothing is kept.
        voxels: How many are kept.
        mass: Sum of their probabilities.
        expected_score: Expected score of keeping them.
        active: Whether the region's peak exceeds ``min_peak``.
    """

    level: int
    voxels: float
    mass: float
    expected_score: float
    active: bool


@dataclass(frozen=True)
class Decision:
    """What was decided for one region: a quality signal that needs no reference.

    Attributes:
        labels: The labels that make up the region.
        metric: What it was decoded for.
        threshold: Lowest probability that the region keeps by itself, before regions that want the same voxel are
            reconciled; None if it keeps none.
        voxels: Voxels of the region in the label map.
        expected_score: Expected score of the label map in [0, 1], if the probabilities are right.
        argmax_expected_score: The same of argmax's label map.
        independent_score: Expected score of the label map, if voxels were independent...
        coherent_score: ... and by the coherent posterior.
        presence_probability: Highest probability of the region: by the coherent posterior, that anything is there.
        expected_volume: Sum of the region's probabilities, in voxels.
        volume_sd: Standard deviation of the volume in voxels, if voxels were independent.
        volume_interval: 5 % and 95 % quantile of the volume in voxels, by the coherent posterior.
    """

    labels: tuple[int, ...]
    metric: Metric
    threshold: float | None
    voxels: int
    expected_score: float
    argmax_expected_score: float
    independent_score: float
    coherent_score: float
    presence_probability: float
    expected_volume: float
    volume_sd: float
    volume_interval: tuple[float, float]


@dataclass(frozen=True)
class Decoded:
    """A label map and what was decided for each region.

    Attributes:
        label_map: ``(*spatial)`` uint8; for multilabel ``(classes, *spatial)`` masks of 0 and 1.
        decisions: One per region: per foreground class, per given region, or per channel (multilabel).
    """

    label_map: UInt8[Tensor, "..."]
    decisions: tuple[Decision, ...]


def best_threshold(distribution: Distribution, peak: float, objective: Objective) -> Threshold:
    """Choose the threshold with the highest expected score; of equal ones the one that keeps fewest voxels.

    Nothing is kept where the region is not active, has no voxel of at least half a level, or scores higher empty.
    """
    active = peak > objective.min_peak
    empty = objective.score_of_nothing(distribution)
    nothing = Threshold(LEVELS, 0.0, 0.0, empty, active)
    if not active or not len(distribution.levels):
        return nothing
    scores = objective.scores_of_thresholds(distribution)
    best = int(scores.argmax())
    if float(scores[best]) <= empty:
        return nothing
    kept = distribution.counts[: best + 1]
    return Threshold(
        level=int(distribution.levels[best]),
        voxels=float(kept.sum()),
        mass=float(kept @ distribution.probabilities[: best + 1]),
        expected_score=float(scores[best]),
        active=active,
    )


def may_lie_below(distribution: Distribution, floor: int, threshold: Threshold, objective: Objective) -> bool:
    r"""Whether a threshold at or below the floor could be better than the best one above it.

    Let $f$ be the floor's probability and let all $n$ voxels above it be kept. Keeping $k$ more cannot lift the upper
    bound $U$ of the exact Dice beyond the larger of $U$ and $2 f$ (a mediant of the two), nor the upper bound of IoU
    beyond that of $U$ and $f / (1 - f)$. The coherent score $E$ at the floor is at most $E_f$, what $u \ge f$ gives,
    plus $f$. With $r = (n + k) / n$ the former shrinks at least to $2 E_f / (1 + r)$ (IoU: $E_f / r$) and the latter
    grows at most $r$-fold, but not beyond $f$: a convex function of $r$, which stays below $E$ if $E_f \ge 2 f$.
    """
    if not floor or not threshold.active:
        return False
    c, f = objective.coherence, floor / (LEVELS - 1)
    above = int((distribution.levels > floor).sum())
    independent = _most_below(distribution, above, f, objective.metric) if c < 1 else 0.0
    coherent = _most_coherent_below(distribution, above, f, objective.metric) if c > 0 else 0.0
    return threshold.expected_score < (1 - c) * independent + c * coherent or threshold.level <= floor


def _most_below(distribution: Distribution, above: int, f: float, metric: Metric) -> float:
    p, n = distribution.probabilities[:above], distribution.counts[:above]
    kept, mass, total = float(n.sum()), float((n * p).sum()), distribution.mean_volume
    if metric == "dice":
        denominator, bound = kept + total - 1, 2 * f
        upper = 2 * mass / denominator if denominator > 0 else 1.0
    else:
        denominator, bound = kept + total - mass - 1, f / (1 - f)
        upper = mass / denominator if denominator > 0 else 1.0
    return max(upper, bound)


def _most_coherent_below(distribution: Distribution, above: int, f: float, metric: Metric) -> float:
    if not above:
        return f
    at_floor = coherent_score_of_threshold(distribution, above - 1, metric)
    return at_floor if at_floor >= 3 * f else at_floor + f
