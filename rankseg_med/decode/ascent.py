r"""Climbing the mean expected score over regions.

By the reciprocal moment approximation, the score of independent voxels depends on each region's kept volume $N$ and
mass $S$ only. Linearised at a point, moving a voxel into a region gains $a\,p - b$, with

- Dice: $D = N + m + 1 + s$, $a = 2 / D$, $b = 2 S / D^2 + s / (D - 1)^2$,
- IoU: $D = N + m - S + s$, $a = (N + m + 2 s) / D^2$, $b = (S + s) / D^2$.

By the coherent posterior it gains $\int_0^p a(u) \, du - b$ with, $I(u)$ voxels of the level set $G_u$ being kept,

- Dice: $D(u) = N + |G_u|$, $a = 2 / D$, $b = \int_0^1 2 I / D^2 \, du$,
- IoU: $D(u) = N + |G_u| - I$, $a = (N + |G_u|) / D^2$, $b = \int_0^1 I / D^2 \, du$:

not linear in $p$, but rising with it, and so is every mixture of both. The best label map for these gains gives each
voxel the label with the highest sum of gains over its regions: a `GainRule`. Its volumes and masses are the next point;
a step that lowers the score is halved.

A voxel that only one region could want (every other stays below its limit there) is settled by that region's threshold
alone, where its gain is 0, so a histogram stands for all of them; only contested voxels are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from rankseg_med.decode.blocks import places, take
from rankseg_med.decode.histogram import ProbabilityHistogram
from rankseg_med.decode.kept import KeptVoxels
from rankseg_med.decode.levels import LEVELS, STEPS, by_step, level_of, step_of
from rankseg_med.decode.objective import Objective
from rankseg_med.decode.rules import GainRule, membership_of
from rankseg_med.decode.wanted import WantedVoxels

_MOST_STEPS = 12
_HALVINGS = 4
# A step that changes the score by less has arrived.
_LEAST_STEP = 1e-9
# More contested voxels than this are sampled evenly: they choose the rule, whose score is then computed on all.
_MOST_CONTESTED = 1 << 19
# ... or voxels that have more probabilities than this, where there are many classes.
_MOST_VALUES = 1 << 24


@dataclass(frozen=True)
class Point:
    """What a label map keeps.

    Attributes:
        kept: ``(regions,)`` volumes.
        mass: ``(regions,)`` sums of the kept voxels' probabilities.
        by_step: ``(regions, STEPS)`` kept volumes by step of probability.
    """

    kept: Float64[Tensor, " regions"]
    mass: Float64[Tensor, " regions"]
    by_step: Float64[Tensor, "regions steps"]

    @classmethod
    def of(cls, kept: KeptVoxels) -> Point:
        """The point of a label map, or of any voxels."""
        return cls(kept.volume, kept.mass, by_step(kept.counts))

    def or_where_empty(self, other: Point) -> Point:
        """With the other's regions in place of those that keep nothing."""
        empty = self.kept == 0
        return Point(
            torch.where(empty, other.kept, self.kept),
            torch.where(empty, other.mass, self.mass),
            torch.where(empty[:, None], other.by_step, self.by_step),
        )


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
        self._most = min(_MOST_CONTESTED, _MOST_VALUES // blocks.num_classes)

    def note_all(self) -> None:
        """Take what is contested of all wanted voxels."""
        for found in self.wanted.visit(lambda part: [self.among(classes) for _, classes in part]):
            for some in found:
                self.note(some)

    def among(self, classes: Float[Tensor, "classes n"]) -> Float[Tensor, "classes m"]:
        """The contested ones of some wanted voxels."""
        contested = self.wanted.contested(self.wanted.regions.probabilities(classes))
        return take(classes, places(contested))

    def note(self, contested: Float[Tensor, "classes n"]) -> None:
        """Take contested voxels, those of the volume in their order."""
        region = self.wanted.regions.probabilities(contested)
        for counts, levels in zip(self.alone, level_of(region).long(), strict=True):
            counts.index_add_(0, levels, torch.full_like(levels, -1))
        # Copied, or the voxels between would be kept as well.
        self._found.append(contested[:, -self._number % self._stride :: self._stride].contiguous())
        self._number += contested.shape[1]
        while self._sampled > self._most:
            starts = accumulate((some.shape[1] for some in self._found), initial=0)
            halves = zip(starts, self._found, strict=False)
            self._found = [some[:, start % 2 :: 2].contiguous() for start, some in halves]
            self._stride *= 2

    @property
    def sample(self) -> Float[Tensor, "classes m"]:
        """Contested voxels."""
        return torch.cat(self._found, 1)

    @property
    def weight(self) -> float:
        """How many voxels each of the sample stands for."""
        return self._number / max(1, self._sampled)

    @property
    def _sampled(self) -> int:
        return sum(some.shape[1] for some in self._found)


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
        self._floor = scan.floor
        self._allowed = torch.tensor(list(allowed), device=device)
        self._coherence = torch.tensor([o.coherence for o in objectives], dtype=torch.float64, device=device)
        self._independent = IndependentSlopes(scan.histogram, objectives)
        self._coherent = CoherentSlopes(scan.histogram, objectives) if bool(self._coherence.any()) else None
        self._contested, self._weight = contested.sample, contested.weight
        self._contested_regions = self.regions.probabilities(self._contested)
        self._contested_steps = step_of(self._contested_regions)
        values = torch.arange(LEVELS, dtype=torch.float64, device=device) / (LEVELS - 1)
        # At each level, volume and mass of the uncontested voxels from it up; one more level for "none".
        self._kept_from = _from_each_level_up(contested.alone.double())
        self._mass_from = _from_each_level_up(contested.alone * values)
        self._alone_by_step = by_step(contested.alone)
        self._steps = torch.arange(STEPS, device=device)
        self._values = self._steps * (LEVELS // STEPS) / (LEVELS - 1)

    def scores(self, point: Point) -> Float64[Tensor, " regions"]:
        """Approximate score of each region."""
        independent = self._independent.scores(point.kept, point.mass)
        if self._coherent is None:
            return independent
        return torch.lerp(independent, self._coherent.scores(point.kept, point.by_step), self._coherence)

    def linearise(self, point: Point) -> GainRule:
        """The gains at a point; regions that are not allowed cost infinitely much."""
        weights, costs = self._independent.slopes(point.kept, point.mass)
        steps = None
        if self._coherent is not None:
            c = self._coherence
            steps, coherent_costs = self._coherent.slopes(point.kept, point.by_step)
            weights, steps, costs = (1 - c) * weights, c[:, None] * steps, torch.lerp(costs, coherent_costs, c)
        return GainRule(self.regions, weights, torch.where(self._allowed, costs, torch.inf), steps)

    def follow(self, rule: GainRule) -> Point:
        """Where a rule leads."""
        level = self._lowest_gaining(rule)
        kept = self._kept_from.gather(1, level[:, None]).squeeze(1)
        mass = self._mass_from.gather(1, level[:, None]).squeeze(1)
        steps = self._alone_by_step * (self._steps >= (level // (LEVELS // STEPS))[:, None])
        if self._contested.shape[1]:
            labels = rule.labels(self._contested, self._contested_regions, self._contested_steps)
            for index, inside in enumerate(membership_of(self.regions, labels)):
                own = places(inside)
                kept[index] += self._weight * len(own)
                mass[index] += self._weight * self._contested_regions[index, own].sum(dtype=torch.float64)
                if self._coherent is not None:
                    steps[index] += self._weight * torch.bincount(self._contested_steps[index, own], minlength=STEPS)
        return Point(kept, mass, steps)

    def height(self, rule: GainRule) -> float:
        """Mean approximate score of a rule."""
        return float(self.scores(self.follow(rule)).mean())

    def climb(self, start: Point) -> tuple[GainRule, float]:
        """Best rule found from a start, and its mean approximate score."""
        best = self.linearise(start)
        point = self.follow(best)
        height = float(self.scores(point).mean())
        for _ in range(_MOST_STEPS):
            towards = self.linearise(point)
            for halving in range(_HALVINGS):
                rule = self._between(best, towards, 0.5**halving)
                reached = self.follow(rule)
                gain = float(self.scores(reached).mean()) - height
                if gain > -_LEAST_STEP:
                    break
            if gain < _LEAST_STEP:
                break
            best, point, height = rule, reached, height + gain
        return best, height

    def _between(self, one: GainRule, other: GainRule, share: float) -> GainRule:
        costs = torch.where(self._allowed, one.costs + share * (other.costs - one.costs), torch.inf)
        steps = None if one.steps is None or other.steps is None else torch.lerp(one.steps, other.steps, share)
        return GainRule(self.regions, torch.lerp(one.weights, other.weights, share), costs, steps)

    def _lowest_gaining(self, rule: GainRule) -> Int64[Tensor, " regions"]:
        """Lowest level from which up a voxel that nobody else wants is kept; `LEVELS` if none is."""
        if rule.steps is None:
            ratio = (rule.costs / rule.weights.clamp_min(1e-300) * (LEVELS - 1)).clamp(self._floor, LEVELS - 1)
            return torch.where(self._allowed, ratio.floor().long() + 1, LEVELS)
        losing = (rule.weights[:, None] * self._values + rule.steps <= rule.costs[:, None]).sum(1)
        return (losing * (LEVELS // STEPS)).clamp_min(self._floor + 1)


class IndependentSlopes:
    """Scores and slopes of independent voxels, by the reciprocal moment approximation."""

    def __init__(self, histogram: ProbabilityHistogram, objectives: Sequence[Objective]) -> None:
        device = histogram.mass.device
        self._total = histogram.mass
        self._smooth = torch.tensor([o.smooth for o in objectives], dtype=torch.float64, device=device)
        self._is_dice = _is_dice(objectives, device)

    def scores(
        self, kept: Float64[Tensor, " regions"], mass: Float64[Tensor, " regions"]
    ) -> Float64[Tensor, " regions"]:
        """Score of each region."""
        s = self._smooth
        dice, iou = self._denominators(kept, mass)
        dice_score = 2 * mass / dice + s / (dice - 1).clamp_min(1e-300)
        iou_score = torch.where(iou > 0, (mass + s) / iou.clamp_min(1e-300), 0.0)
        return torch.where(self._is_dice, dice_score, iou_score)

    def slopes(
        self, kept: Float64[Tensor, " regions"], mass: Float64[Tensor, " regions"]
    ) -> tuple[Float64[Tensor, " regions"], Float64[Tensor, " regions"]]:
        """Weights a and costs b."""
        s = self._smooth
        dice, iou = self._denominators(kept, mass)
        squared = iou.square().clamp_min(1e-300)
        weights = torch.where(self._is_dice, 2 / dice, (kept + self._total + 2 * s) / squared)
        dice_costs = 2 * mass / dice.square() + s / (dice - 1).square().clamp_min(1e-300)
        return weights, torch.where(self._is_dice, dice_costs, (mass + s) / squared)

    def _denominators(self, kept: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
        return kept + self._total + 1 + self._smooth, kept + self._total - mass + self._smooth


class CoherentSlopes:
    """Scores and slopes under the coherent posterior, its levels taken step by step."""

    def __init__(self, histogram: ProbabilityHistogram, objectives: Sequence[Objective]) -> None:
        counts = by_step(histogram.counts)
        squares = histogram.uncounted_squares
        faint = torch.where(squares > 0, histogram.uncounted_mass.square() / squares.clamp_min(1e-300), 0.0)
        steps_of_faint = torch.arange(faint.shape[1], device=faint.device) // (LEVELS // STEPS)
        counts.index_add_(1, steps_of_faint, faint)
        self._volumes = _from_each_step_up(counts)
        self._is_dice = _is_dice(objectives, counts.device)[:, None]

    def scores(
        self, kept: Float64[Tensor, " regions"], by_step: Float64[Tensor, "regions steps"]
    ) -> Float64[Tensor, " regions"]:
        """Score of each region."""
        common, both = self._common_and_both(kept, by_step)
        score = torch.where(self._is_dice, 2 * common / both, common / (both - common))
        return score.sum(1) / STEPS

    def slopes(
        self, kept: Float64[Tensor, " regions"], by_step: Float64[Tensor, "regions steps"]
    ) -> tuple[Float64[Tensor, "regions steps"], Float64[Tensor, " regions"]]:
        """What a voxel of each step gains, and the costs b."""
        common, both = self._common_and_both(kept, by_step)
        either = both - common
        gains = torch.where(self._is_dice, 2 / both, both / either.square()) / STEPS
        costs = torch.where(self._is_dice, 2 * common / both.square(), common / either.square()) / STEPS
        # The level set of the lowest step is the whole volume, and no step of it is gained.
        gains[:, 0] = 0
        return gains.cumsum(1), costs.sum(1)

    def _common_and_both(self, kept: Tensor, by_step: Tensor) -> tuple[Tensor, Tensor]:
        """Volume that the kept voxels share with each level set, and the sum of both volumes; 0 and 1 of none."""
        common = _from_each_step_up(by_step)
        common[:, 0] = 0
        return common, (kept[:, None] + self._volumes).clamp_min(1)


def _is_dice(objectives: Sequence[Objective], device: torch.device) -> Bool[Tensor, " regions"]:
    return torch.tensor([o.metric == "dice" for o in objectives], device=device)


def _from_each_step_up(values: Float64[Tensor, "regions steps"]) -> Float64[Tensor, "regions steps"]:
    return values.flip(1).cumsum(1).flip(1)


def _from_each_level_up(values: Float64[Tensor, "regions levels"]) -> Float64[Tensor, "regions levels+1"]:
    sums = _from_each_step_up(values)
    return torch.cat([sums, torch.zeros_like(sums[:, :1])], 1)
