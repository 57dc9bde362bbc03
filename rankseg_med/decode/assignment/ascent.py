r"""Climbing the mean expected score over regions.

By the reciprocal moment approximation the mean score depends on each region's kept volume $N$ and mass $S$ only.
Linearised at a point, moving a voxel into a region gains $a\,p - b$, with

- Dice: $D = N + m + 1 + s$, $a = 2 / D$, $b = 2 S / D^2 + s / (D - 1)^2$,
- IoU: $D = N + m - S + s$, $a = (N + m + 2 s) / D^2$, $b = (S + s) / D^2$,

so the best label map for the linearisation gives each voxel the label with the highest sum of gains over its regions:
a `LinearRule`. Its volumes and masses are the next point; a step that lowers the score is halved.

A voxel that only one region could want (every other stays below its limit there) is settled by that region's threshold
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
from rankseg_med.decode.wanted import WantedVoxels

_STEPS = 12
_HALVINGS = 4
# More contested voxels than this are sampled evenly: they choose the rule, whose score is then computed on all.
_MOST_CONTESTED = 1 << 19


@dataclass(frozen=True)
class Point:
    """Kept volumes ``(regions,)`` and masses ``(regions,)`` of a label map."""

    kept: Float64[Tensor, " regions"]
    mass: Float64[Tensor, " regions"]


class Contested:
    """The voxels that several regions could want, or an even sample of them; it is shown all wanted ones.

    Args:
        wanted: The volume's wanted voxels.

    Attributes:
        alone: ``(regions, LEVELS)`` counts of all other voxels.
    """

    def __init__(self, wanted: WantedVoxels) -> None:
        self.wanted = wanted
        self.alone = wanted.scan.histogram.counts.clone()
        blocks = wanted.scan.blocks
        self._found = [torch.empty((blocks.num_classes, 0), dtype=blocks.dtype, device=blocks.device)]
        self._number, self._stride = 0, 1

    def note(self, classes: Float[Tensor, "classes n"]) -> None:
        """Take what is contested of some wanted voxels."""
        region = self.wanted.regions.probabilities(classes)
        index = self.wanted.contested(region).nonzero().squeeze(1)
        for counts, levels in zip(self.alone, level_of(region.index_select(1, index)).long(), strict=True):
            counts.index_add_(0, levels, torch.full_like(levels, -1))
        self._found.append(classes.index_select(1, index[-self._number % self._stride :: self._stride]))
        self._number += len(index)
        while sum(some.shape[1] for some in self._found) > _MOST_CONTESTED:
            self._found = [torch.cat(self._found, 1)[:, ::2]]
            self._stride *= 2

    @property
    def sample(self) -> Float[Tensor, "classes m"]:
        """Contested voxels."""
        return torch.cat(self._found, 1)

    @property
    def weight(self) -> float:
        """How many voxels each of the sample stands for."""
        return self._number / max(1, sum(some.shape[1] for some in self._found))


class Landscape:
    """The mean approximate score as a function of the rule.

    Args:
        contested: The volume's contested voxels.
        objectives: One per region.
        allowed: Regions that may be predicted.
    """

    def __init__(self, contested: Contested, objectives: Sequence[Objective], allowed: Sequence[bool]) -> None:
        scan = contested.wanted.scan
        self.regions = scan.regions
        device = scan.blocks.device
        self._total = scan.histogram.mass
        self._floor = scan.floor
        self._smooth = torch.tensor([o.smooth for o in objectives], dtype=torch.float64, device=device)
        self._is_dice = torch.tensor([o.metric == "dice" for o in objectives], device=device)
        self._allowed = torch.tensor(list(allowed), device=device)
        self._contested, self._weight, alone = contested.sample, contested.weight, contested.alone
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

    def height(self, rule: LinearRule) -> float:
        """Mean approximate score of a rule."""
        return float(self.scores(self.follow(rule)).mean())

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


def _from_each_level_up(values: Float64[Tensor, "regions levels"]) -> Float64[Tensor, "regions levels+1"]:
    sums = values.flip(1).cumsum(1).flip(1)
    return torch.cat([sums, torch.zeros_like(sums[:, :1])], 1)
