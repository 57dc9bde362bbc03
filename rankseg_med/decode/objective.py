"""What one region is decoded for: a metric, and what is believed of the truth beyond the voxels' probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rankseg_med.decode.coherent_score import coherent_score_of_mask, coherent_scores
from rankseg_med.decode.expected_score import (
    Bounds,
    Metric,
    Solver,
    empty_score_expected,
    expected_score_of_mask,
    expected_scores,
    score_bounds,
)
from rankseg_med.decode.histogram import Distribution


@dataclass(frozen=True)
class Objective:
    """What one region is decoded for.

    Attributes:
        metric: ``"dice"`` or ``"iou"``.
        solver: ``"exact"``, ``"rma"`` or ``"ba"``; of the independent expectation.
        coherence: Weight, in [0, 1], of the [coherent][rankseg_med.decode.coherent_score] posterior; the rest is that
            of [independent][rankseg_med.decode.expected_score] voxels.
        min_peak: Least peak, in [0, 1]; a region whose highest probability does not exceed it gets no threshold.
        smooth: Smoothing of ``"rma"``.
        empty_score: Score, in [0, 1]: what the benchmark gives when prediction and reference are both empty.
    """

    metric: Metric = "dice"
    solver: Solver = "exact"
    coherence: float = 0.0
    min_peak: float = 0.5
    smooth: float = 0.0
    empty_score: float = 0.0

    @property
    def best_threshold_is_best_mask(self) -> bool:
        """Whether no mask scores higher than the best threshold; the blind approximation is of thresholds alone."""
        return self.solver != "ba" or self.coherence == 1

    def scores_of_thresholds(self, distribution: Distribution) -> Float64[Tensor, " n"]:
        """Expected score of keeping every voxel from the most probable down to each level.

        Returns:
            ``(n,)`` scores in [0, 1]; minus infinity where a bound shows that a threshold is not the best.
        """
        c, n = self.coherence, len(distribution.levels)
        if not n:
            return torch.zeros(0, dtype=torch.float64)
        nothing = torch.zeros(n, dtype=torch.float64)
        independent = Bounds(nothing, nothing)
        if c < 1:
            bounds = score_bounds(distribution, self.metric, self.solver, self.smooth)
            independent = Bounds((1 - c) * bounds.lower, (1 - c) * bounds.upper)
        coherent = c * coherent_scores(distribution, self.metric, c, independent) if c else nothing
        lower, upper = independent.lower + coherent, independent.upper + coherent
        if c == 1 or self.solver == "rma":
            return lower
        which = (upper >= lower.max()).nonzero().squeeze(1)
        scores = torch.full_like(lower, -torch.inf)
        exact = expected_scores(distribution, self.metric, self.solver, which)
        scores[which] = (1 - c) * exact + coherent[which]
        return scores

    def score_of_mask(self, distribution: Distribution, kept: Int64[Tensor, " levels"], mass: float) -> float:
        """Expected score of a set of voxels.

        Args:
            distribution: Distribution of all voxels.
            kept: Those of the set by level.
            mass: Sum of their unrounded probabilities.
        """
        if not bool(kept.any()):
            return self.score_of_nothing(distribution)
        c, score = self.coherence, 0.0
        if c < 1:
            mask = Distribution.of_mask(kept)
            score += (1 - c) * expected_score_of_mask(distribution, mask, self.metric, self.solver, self.smooth, mass)
        if c > 0:
            score += c * coherent_score_of_mask(distribution, kept, self.metric)
        return score

    def score_of_nothing(self, distribution: Distribution) -> float:
        """Expected score of keeping nothing: `empty_score` times the probability that nothing is there."""
        c = self.coherence
        independent = empty_score_expected(distribution, self.solver, self.empty_score, self.smooth) if c < 1 else 0.0
        return (1 - c) * independent + c * self.empty_score * (1 - distribution.peak)
