"""From a histogram to one threshold per region, and what is reported of the result."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor

from rankseg_med.decode.expected_score import Metric, Solver, empty_score_expected, expected_scores
from rankseg_med.decode.histogram import Distribution
from rankseg_med.decode.levels import LEVELS


@dataclass(frozen=True)
class Objective:
    """What one region is decoded for.

    Attributes:
        metric: ``"dice"`` or ``"iou"``.
        solver: ``"exact"``, ``"rma"`` or ``"ba"``.
        min_peak: In [0, 1]; a region whose highest probability does not exceed it gets no threshold.
        smooth: Smoothing of ``"rma"``.
        empty_score: In [0, 1]; what the benchmark gives when prediction and reference are both empty.
    """

    metric: Metric = "dice"
    solver: Solver = "exact"
    min_peak: float = 0.5
    smooth: float = 0.0
    empty_score: float = 0.0


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
        expected_volume: Sum of the region's probabilities, in voxels.
        volume_sd: Standard deviation of the volume in voxels, if voxels were independent.
    """

    labels: tuple[int, ...]
    metric: Metric
    threshold: float | None
    voxels: int
    expected_score: float
    argmax_expected_score: float
    expected_volume: float
    volume_sd: float


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
    empty = empty_score_expected(distribution, objective.solver, objective.empty_score, objective.smooth)
    nothing = Threshold(LEVELS, 0.0, 0.0, empty, active)
    if not active or not len(distribution.levels):
        return nothing
    scores = expected_scores(distribution, objective.metric, objective.solver, objective.smooth)
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


def may_lie_below(distribution: Distribution, floor: int, threshold: Threshold, metric: Metric) -> bool:
    r"""Whether a threshold at or below the floor could be better than the best one above it.

    Keeping $k$ more voxels, none above $f$, cannot lift the upper bound $U$ of the exact Dice at the floor beyond the
    larger of $U$ and $2 f$ (a mediant of the two), nor the upper bound of IoU beyond that of $U$ and $f / (1 - f)$.
    """
    if not floor or not threshold.active:
        return False
    p, n = distribution.probabilities, distribution.counts
    above = distribution.levels > floor
    kept, mass, total = float(n[above].sum()), float((n * p)[above].sum()), distribution.mean_volume
    f = floor / (LEVELS - 1)
    if metric == "dice":
        denominator, bound = kept + total - 1, 2 * f
        upper = 2 * mass / denominator if denominator > 0 else 1.0
    else:
        denominator, bound = kept + total - mass - 1, f / (1 - f)
        upper = mass / denominator if denominator > 0 else 1.0
    return threshold.expected_score < max(upper, bound) or threshold.level <= floor
