r"""Climbing the mean expected score over regions.

By the reciprocal moment approximation the mean score depends on each region's kept volume $N$ and mass $S$ only.
Linearised at a point, moving a voxel into a region gains $a\,p - b$, with

- Dice: $D = N + m + 1 + s$, $a = 2 / D$, $b = 2 S / D^2 + s / (D - 1)^2$,
- IoU: $D = N + m - S + s$, $a = (N + m + 2 s) / D^2$, $b = (S + s) / D^2$,

so the best label map for the linearisation gives each voxel the label with the highest sum of gains over its regions:
a `LinearRule`. Its volumes and masses are the next point; a step that lowers the score is halved.

A voxel that only one region could want (every other is at most ``floor`` there) is settled by that region's threshold
$b / a$ alone, so a histogram stands for all of them; only contested voxels are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rankseg_med.decode.assignment.rules import LinearRule, membership_of
from rankseg_med.decode.decision import Objective
from rankseg_med.decode.levels import LEVELS, level_of
from rankseg_med.decode.volume import UncertainVoxels

_STEPS = 12
_HALVINGS = 4
# More contested voxels than this are sampled evenly: they choose the rule, whose score is then computed on all.
_MOST_CONTESTED = 1 << 19


@dataclass(frozen=True)
class Point:
    """Kept volumes ``(regions,)`` and masses ``(regions,)`` of a label map."""

    kept: Float64[Tensor, " regions"]
    mass: Float64[Tensor, " regions"]


class Landscape:
    """The mean approximate score as a function of the rule.

    Args:
        uncertain: The volume's uncertain voxels.
        objectives: One per region.
        allowed: Regions that may be predicted.
    """

    def __init__(self, uncertain: UncertainVoxels, objectives: Sequence[Objective], allowed: Sequence[bool]) -> None:
        self.regions = uncertain.regions
        device = uncertain.blocks.device
        self._total = uncertain.histogram.mass
        self._floor = uncertain.floor
        self._smooth = torch.tensor([o.smooth for o in objectives], dtype=torch.float64, device=device)
        self._is_dice = torch.tensor([o.metric == "dice" for o in objectives], device=device)
        self._allowed = torch.tensor(list(allowed), device=device)
        self._contested, self._weight, alone = _contested(uncertain)
        values = torch.arange(LEVELS, dtype=torch.float64, device=device) / (LEVELS - 1)
        # At each level, volume and mass of the uncontested voxels from it up; one more level for "none".
        self._kept_from = _from_each_level_up(alone.double())
        self._mass_from = _from_each_level_up(alone * values)

    def scores(self, point: Point) -> Float64[Tensor, " regions"]:
        """Approximate score of each region."""
        dice, iou = self._denominators(point)
        s = self._smooth
        dice_score = 2 * point.mass / dice + s / (dice - 1).clamp_min(1e-300)
        iou_score = torch.where(iou > 0, (point.mass + s) / iou.clamp_min(1e-300), 0.0)
        return torch.where(self._is_dice, dice_score, iou_score)

    def linearise(self, point: Point) -> tuple[Float64[Tensor, " regions"], Float64[Tensor, " regions"]]:
        """Weights a and costs b at a point; regions that are not allowed cost infinitely much."""
        dice, iou = self._denominators(point)
        s = self._smooth
        squared = iou.square().clamp_min(1e-300)
        weights = torch.where(self._is_dice, 2 / dice, (point.kept + self._total + 2 * s) / squared)
        dice_costs = 2 * point.mass / dice.square() + s / (dice - 1).square().clamp_min(1e-300)
        costs = torch.where(self._is_dice, dice_costs, (point.mass + s) / squared)
        return weights, torch.where(self._allowed, costs, torch.inf)

    def follow(self, rule: LinearRule) -> Point:
        """Where a rule leads."""
        ratio = (rule.costs / rule.weights.clamp_min(1e-300) * (LEVELS - 1)).clamp(self._floor, LEVELS - 1)
        level = torch.where(self._allowed, ratio.floor().long() + 1, LEVELS)
        kept = self._kept_from.gather(1, level[:, None]).squeeze(1)
        mass = self._mass_from.gather(1, level[:, None]).squeeze(1)
        if self._contested.shape[1]:
            inside = membership_of(self.regions, rule(self._contested))
            region = self.regions.probabilities(self._contested)
            kept = kept + self._weight * inside.sum(1)
            mass = mass + self._weight * (region * inside).sum(1, dtype=torch.float64)
        return Point(kept, mass)

    def climb(self, start: Point) -> tuple[LinearRule, float]:
        """Best rule found from a start, and its mean approximate score."""
        weights, costs = self.linearise(start)
        best = LinearRule(self.regions, weights, costs)
        point = self.follow(best)
        height = float(self.scores(point).mean())
        for _ in range(_STEPS):
            towards_weights, towards_costs = self.linearise(point)
            for halving in range(_HALVINGS):
                share = 0.5**halving
                rule = LinearRule(
                    self.regions,
                    best.weights + share * (towards_weights - best.weights),
                    torch.where(self._allowed, best.costs + share * (towards_costs - best.costs), torch.inf),
                )
                reached = self.follow(rule)
                gain = float(self.scores(reached).mean()) - height
                if gain > 0:
                    break
            if gain <= 1e-12:
                break
            best, point, height = rule, reached, height + gain
        return best, height

    def _denominators(self, point: Point) -> tuple[Tensor, Tensor]:
        return (
            point.kept + self._total + 1 + self._smooth,
            point.kept + self._total - point.mass + self._smooth,
        )


def _contested(uncertain: UncertainVoxels) -> tuple[Float[Tensor, "classes m"], float, Tensor]:
    """Contested voxels (or an even sample), how many each stands for, and the others' counts ``(regions, LEVELS)``."""
    regions, device = uncertain.regions, uncertain.blocks.device
    alone = uncertain.histogram.counts.clone()
    found = [torch.empty((regions.num_classes, 0), dtype=uncertain.blocks.dtype, device=device)]
    if uncertain.contested_voxels:
        stride = -(-uncertain.contested_voxels // _MOST_CONTESTED)
        for _, classes in uncertain:
            region = regions.probabilities(classes)
            contested = uncertain.contested(region).nonzero().squeeze(1)
            for counts, levels in zip(alone, level_of(region[:, contested]), strict=True):
                counts -= torch.bincount(levels, minlength=LEVELS)
            found.append(classes[:, contested[::stride]])
    sample = torch.cat(found, 1)
    return sample, uncertain.contested_voxels / max(1, sample.shape[1]), alone


def _from_each_level_up(values: Float64[Tensor, "regions levels"]) -> Float64[Tensor, "regions levels+1"]:
    sums = values.flip(1).cumsum(1).flip(1)
    return torch.cat([sums, torch.zeros_like(sums[:, :1])], 1)
