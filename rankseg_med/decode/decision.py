"""From a histogram to one threshold per class."""

from __future__ import annotations

from dataclasses import dataclass

from rankseg_med.decode.expected_score import Metric, Solver, expected_scores
from rankseg_med.decode.histogram import LEVELS, ProbabilityHistogram


@dataclass(frozen=True)
class Decision:
    """What was decided for one class, before classes that want the same voxel are reconciled.

    Attributes:
        level: Lowest kept probability level; ``LEVELS`` when nothing is kept.
        volume: Kept voxels.
        expected_score: Expected Dice or IoU of the kept voxels in [0, 1]; 0 when nothing is kept.
        expected_volume: Sum of the class's probabilities, in voxels.
        active: Whether the class may be predicted at all (see ``min_peak``).
    """

    level: int
    volume: int
    expected_score: float
    expected_volume: float
    active: bool

    @property
    def threshold(self) -> float:
        """Probability of the lowest kept level; infinity when nothing is kept."""
        return self.level / (LEVELS - 1) if self.level < LEVELS else float("inf")


def decide(histogram: ProbabilityHistogram, *, metric: Metric, solver: Solver, min_peak: float) -> tuple[Decision, ...]:
    """Choose each class's threshold so that its expected score is highest.

    Among thresholds with the same score the one that keeps fewest voxels wins. A class whose highest probability does
    not exceed ``min_peak`` keeps nothing, and so does a class without any mass.

    Args:
        histogram: Counts of a probability volume.
        metric: ``"dice"`` or ``"iou"``.
        solver: ``"exact"`` or ``"rma"``.
        min_peak: In [0, 1].

    Returns:
        One decision per class, in order.
    """
    return tuple(_decide_class(histogram, index, metric, solver, min_peak) for index in range(histogram.num_classes))


def _decide_class(
    histogram: ProbabilityHistogram, class_index: int, metric: Metric, solver: Solver, min_peak: float
) -> Decision:
    expected_volume = float(histogram.mass[class_index])
    active = float(histogram.peak[class_index]) > min_peak
    levels, probabilities, counts = histogram.descending(class_index)
    if not active or not len(levels):
        return Decision(LEVELS, 0, 0.0, expected_volume, active)
    scores = expected_scores(probabilities, counts, metric, solver)
    best = int(scores.argmax())
    return Decision(
        level=int(levels[best]),
        volume=int(counts[: best + 1].sum()),
        expected_score=float(scores[best]),
        expected_volume=expected_volume,
        active=active,
    )
