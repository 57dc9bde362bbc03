"""Rules that give every voxel a label from its class probabilities alone."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64, Shaped, UInt8
from torch import Tensor

from rankseg_med.decode.blocks import compared, how_many, places, take
from rankseg_med.decode.decision import Threshold
from rankseg_med.decode.expected_score import Metric
from rankseg_med.decode.levels import lowest_probability_of, step_of
from rankseg_med.decode.regions import Regions

Rule: TypeAlias = Callable[[Float[Tensor, "classes n"]], UInt8[Tensor, " n"]]


def highest(scores: Shaped[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
    """Index of the highest of each column, ties to the lowest; several times as fast as ``torch.argmax(dim=0)``."""
    return highest_above(scores[0], scores[1:])


def highest_above(base: Shaped[Tensor, " n"], scores: Shaped[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
    """1 + index of the highest of each column, ties to the lowest; 0 where none is higher than the base."""
    best, labels = base, torch.zeros_like(base, dtype=torch.uint8)
    for label, score in enumerate(scores, start=1):
        # Labels only grow on the way, and bytes are multiplied and compared many at a time; a masked fill is not.
        labels = torch.maximum(labels, compared(operator.gt, score, best).view(torch.uint8) * label)
        best = torch.maximum(best, score)
    return labels


class HighestInAnyRegion:
    """The most probable class, where it belongs to a region; else background.

    Args:
        regions: What is scored.
    """

    def __init__(self, regions: Regions) -> None:
        scored = {label for region in regions.labels for label in region}
        labels = [label if label in scored else 0 for label in range(regions.num_classes)]
        self._labels = torch.tensor(labels, dtype=torch.uint8)

    def __call__(self, classes: Float[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
        """Labels of voxels ``(classes, n)``."""
        return self._labels.to(classes.device)[highest(classes).int()]


class GainRule:
    """The label whose regions gain most: the sum over a label's regions of ``weight * probability + step - cost``.

    Background gains nothing. Of labels in the same regions the most probable is taken.

    Args:
        regions: What is scored.
        weights: ``(regions,)``.
        costs: ``(regions,)``; infinite for a region that may not be predicted.
        steps: ``(regions, STEPS)``, what a voxel of each step of probability gains beside, ascending; None for nothing.
    """

    def __init__(
        self,
        regions: Regions,
        weights: Float64[Tensor, " regions"],
        costs: Float64[Tensor, " regions"],
        steps: Float64[Tensor, "regions steps"] | None = None,
    ) -> None:
        self.regions = regions
        self.weights = weights
        self.costs = costs
        self.steps = steps

    def __call__(self, classes: Float[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
        """Labels of voxels ``(classes, n)``."""
        probabilities = self.regions.probabilities(classes)
        return self.labels(classes, probabilities, None if self.steps is None else step_of(probabilities))

    def labels(
        self,
        classes: Float[Tensor, "classes n"],
        probabilities: Float[Tensor, "regions n"],
        steps: Int[Tensor, "regions n"] | None,
    ) -> UInt8[Tensor, " n"]:
        """Labels of voxels whose regions' probabilities, and steps of these, are known."""
        gains = self.gains(probabilities, steps)
        if self.regions.are_classes:
            return highest_above(torch.zeros_like(gains[0]), gains)
        return highest_label(self.regions, gains, classes)

    def gains(
        self, probabilities: Float[Tensor, "regions n"], steps: Int[Tensor, "regions n"] | None = None
    ) -> Float[Tensor, "regions n"]:
        """What each region gains by voxels of these probabilities; ``steps``, their steps where they are known."""
        dtype = probabilities.dtype
        gains = probabilities * self.weights.to(dtype)[:, None] - self.costs.to(dtype)[:, None]
        if self.steps is not None:
            steps = step_of(probabilities) if steps is None else steps
            for gain, table, own in zip(gains, self.steps.to(dtype), steps, strict=True):
                gain += torch.index_select(table, 0, own)
        return gains

    def reaches_below(self, limits: Float[Tensor, " regions"]) -> bool:
        """Whether a region gains by a voxel of lower probability than its limit."""
        return bool((self.gains(limits.double()[:, None]) > 0).any())

    def gains_from(self, limits: Float[Tensor, " regions"]) -> bool:
        """Whether every region with a finite limit gains by voxels from it up."""
        gains = self.gains(limits.double().clamp_max(1)[:, None]).squeeze(1)
        return bool((gains > 0)[limits < torch.inf].all())


def highest_label(
    regions: Regions, gains: Float[Tensor, "regions n"], classes: Float[Tensor, "classes n"]
) -> UInt8[Tensor, " n"]:
    """The label whose regions' gains add up to most, of equal ones the most probable; background gains nothing."""
    best = torch.zeros_like(gains[0])
    best_probability = torch.full_like(best, torch.inf)
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for label in range(1, regions.num_classes):
        holding = [index for index, region in enumerate(regions.labels) if label in region]
        if not holding:
            continue
        gain = gains[holding].sum(0)
        better = (gain > best) | ((gain == best) & (classes[label] > best_probability))
        labels.masked_fill_(better, label)
        best = torch.where(better, gain, best)
        best_probability = torch.where(better, classes[label], best_probability)
    return labels


class FirstRound(NamedTuple):
    """What exactly one class keeps of some voxels.

    Attributes:
        voxels: How many there are.
        background: Sum of their background probabilities.
        kept: How many each class keeps...
        kept_mass: ... and the sum of their probabilities.
    """

    voxels: int
    background: Float64[Tensor, ""]
    kept: Int64[Tensor, " classes"]
    kept_mass: Float64[Tensor, " classes"]


class GreedyRule:
    r"""The published rule (Wang and Dai, NeurIPS 2025), with background a class as any other.

    A voxel that exactly one class keeps goes to it. With $N_c$ voxels of mass $S_c$ so assigned, any other voxel goes
    to the class whose approximate score gains most by it,

    - Dice: $\frac{2}{D_c + 1} (p_c - S_c / D_c) - \frac{s}{(D_c - 1) D_c}$ with $D_c = N_c + m_c + 1 + s$,
    - IoU: $\frac{p_c - \frac{S_c + s}{D_c} (1 - p_c)}{D_c + 1 - p_c}$ with $D_c = N_c + m_c - S_c + s$,

    with smoothing $s$, among the classes that keep it, or among all active classes if none does (all classes if none is
    active). Equal gains go to the lowest class.

    Args:
        thresholds: One per class, background first.
        masses: ``(classes,)`` expected volumes $m_c$.
        metric: ``"dice"`` or ``"iou"``.
        smooth: $s$.
        dtype: Type in which probabilities are compared with thresholds.
    """

    def __init__(
        self,
        thresholds: Sequence[Threshold],
        masses: Float64[Tensor, " classes"],
        metric: Metric,
        smooth: float,
        dtype: torch.dtype,
    ) -> None:
        self.metric: Metric = metric
        self.smooth = smooth
        self.masses = masses
        device = masses.device
        edges = [lowest_probability_of(threshold.level, dtype) for threshold in thresholds]
        self._edges = torch.tensor(edges, dtype=dtype, device=device)[:, None]
        active = torch.tensor([threshold.active for threshold in thresholds], device=device)
        self._eligible_if_unwanted = (active if bool(active.any()) else ~active)[:, None]
        self._kept = torch.zeros_like(masses)
        self._kept_mass = torch.zeros_like(masses)
        self._noted = 0
        self._noted_background = torch.zeros_like(masses[0])

    def first_round(self, classes: Float[Tensor, "classes n"]) -> FirstRound:
        """What exactly one class keeps of some voxels."""
        wanted = compared(operator.ge, classes, self._edges)
        alone = wanted & compared(operator.eq, how_many(wanted), 1)
        # Numbers are multiplied by bytes many at a time, by truth values one by one.
        kept_mass = (classes * alone.view(torch.uint8)).sum(1, dtype=torch.float64)
        return FirstRound(classes.shape[1], classes[0].sum(dtype=torch.float64), alone.count_nonzero(1), kept_mass)

    def note(self, found: FirstRound) -> None:
        """First round: add up the voxels that exactly one class keeps."""
        self._kept += found.kept
        self._kept_mass += found.kept_mass
        self._noted += found.voxels
        self._noted_background += found.background

    def note_rest(self, voxels: int) -> None:
        """First round, for all voxels that were not noted, out of so many: background alone keeps them."""
        self._kept[0] += voxels - self._noted
        self._kept_mass[0] += self.masses[0] - self._noted_background

    def __call__(self, classes: Float[Tensor, "classes n"]) -> UInt8[Tensor, " n"]:
        """Second round: labels of voxels ``(classes, n)``."""
        wanted = compared(operator.ge, classes, self._edges)
        wanting = how_many(wanted)
        labels = highest(wanted.view(torch.uint8))
        disputed = places(compared(operator.ne, wanting, 1))
        eligible = torch.where(wanting[disputed] == 0, self._eligible_if_unwanted, take(wanted, disputed))
        gains = self._gains(take(classes, disputed).double()).masked_fill(~eligible, -torch.inf)
        return labels.scatter_(0, disputed, highest(gains))

    @property
    def background_limit(self) -> float:
        """Lowest probability of the voxels that background keeps."""
        return float(self._edges[0, 0])

    def _gains(self, p: Float64[Tensor, "classes n"]) -> Float64[Tensor, "classes n"]:
        s = self.smooth
        if self.metric == "dice":
            d = (self._kept + self.masses + 1 + s)[:, None]
            gains = (p - self._kept_mass[:, None] / d) * (2 / (d + 1))
            return gains - s / ((d - 1) * d) if s else gains
        d = (self._kept + self.masses - self._kept_mass + s)[:, None]
        # A class without mass has neither score nor gain.
        score = torch.where(d > 0, (self._kept_mass[:, None] + s) / d.clamp_min(1e-300), 0)
        return (p - score * (1 - p)) / (d + 1 - p)


def membership_of(regions: Regions, labels: UInt8[Tensor, " n"]) -> Bool[Tensor, "regions n"]:
    """Which voxels lie in which region of a label map."""
    if regions.are_classes:
        own = torch.arange(1, regions.num_classes, dtype=torch.uint8, device=labels.device)
        return compared(operator.eq, labels, own[:, None])
    return regions.membership(labels.device)[:, labels.int()]
