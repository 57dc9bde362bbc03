"""From blocks of probabilities to a label map and the decisions behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from rankseg_med.decode.assignment.ascent import Landscape, Point
from rankseg_med.decode.assignment.rules import GreedyRule, HighestInAnyRegion, LinearRule, Rule, highest, membership_of
from rankseg_med.decode.decision import Decision, Objective, Threshold, best_threshold, may_lie_below
from rankseg_med.decode.expected_score import empty_score_expected, expected_score_of_mask
from rankseg_med.decode.histogram import Distribution
from rankseg_med.decode.levels import LEVELS, level_of, lowest_probability_of
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.validation import ValueCheck
from rankseg_med.decode.volume import Blocks, UncertainVoxels

Assignment = Literal["ascent", "greedy"]


@dataclass(frozen=True)
class _Solved:
    """A volume read once, with each region's distribution and threshold."""

    uncertain: UncertainVoxels
    distributions: tuple[Distribution, ...]
    thresholds: tuple[Threshold, ...]
    objectives: tuple[Objective, ...]


def decode_blocks(
    blocks: Blocks,
    regions: Regions,
    objectives: Sequence[Objective],
    assignment: Assignment,
    check: ValueCheck | None = None,
) -> tuple[UInt8[Tensor, " voxels"], tuple[Decision, ...]]:
    """Decode a volume of exclusive classes.

    Args:
        blocks: The volume.
        regions: What is scored.
        objectives: One per region.
        assignment: ``"greedy"``, or ``"ascent"``, whose mean expected score over regions is at least that of argmax
            and, where the greedy rule is defined (plain classes with one objective), of the greedy label map.
        check: Sees every block and raises if it was no probability volume.

    Returns:
        Flat label map and one decision per region.
    """
    solved = _solve(blocks, regions, tuple(objectives), check)
    rules: dict[str, Rule] = {"argmax": highest if regions.are_classes else HighestInAnyRegion(regions)}
    if regions.are_classes and len({replace(objective, min_peak=0.0) for objective in objectives}) == 1:
        solved, rules["greedy"] = _greedy(solved)
    elif assignment == "greedy":
        raise ValueError(
            "the greedy rule is defined for plain classes with one metric; "
            "use assignment='ascent' for regions and for different metrics"
        )
    counts = _count_masks(solved.uncertain, rules)
    if assignment == "ascent":
        rules["thresholds"] = _by_thresholds(solved)
        # One region by itself has nothing to settle: its threshold is the optimum.
        if len(regions.labels) > 1:
            rules["ascent"] = _ascend(solved, counts)
        counts |= _count_masks(solved.uncertain, {name: rule for name, rule in rules.items() if name not in counts})
    scores = {name: score_masks(solved.distributions, counts[name], solved.objectives) for name in rules}
    # Later entries win ties: what was searched for, then greedy, then argmax.
    chosen = "greedy" if assignment == "greedy" else max(reversed(scores), key=lambda name: sum(scores[name]))
    labels = torch.zeros(blocks.num_voxels, dtype=torch.uint8, device=blocks.device)
    for index, classes in solved.uncertain:
        labels[index] = rules[chosen](classes)
    return labels, _decisions(solved, counts[chosen], scores[chosen], scores["argmax"])


def floor_for(num_classes: int) -> int:
    """Level up to which a voxel is background beyond doubt: 1/256, lower where very many classes share the rest."""
    return min(256, LEVELS // (4 * num_classes))


def _solve(blocks: Blocks, regions: Regions, objectives: tuple[Objective, ...], check: ValueCheck | None) -> _Solved:
    for floor in (floor_for(blocks.num_classes), 0):
        uncertain = UncertainVoxels(blocks, regions, floor, check)
        histogram = uncertain.histogram.cpu()
        distributions = tuple(histogram.distribution(index) for index in range(histogram.regions))
        thresholds = tuple(
            best_threshold(distribution, float(peak), objective)
            for distribution, peak, objective in zip(distributions, histogram.peak, objectives, strict=True)
        )
        below = (
            may_lie_below(distribution, floor, threshold, objective.metric)
            for distribution, threshold, objective in zip(distributions, thresholds, objectives, strict=True)
        )
        if not any(below):
            break
    return _Solved(uncertain, distributions, thresholds, objectives)


def _greedy(solved: _Solved) -> tuple[_Solved, GreedyRule]:
    """The greedy rule, and the volume read anew without a floor should the rule reach below it."""
    while True:
        uncertain, objective = solved.uncertain, solved.objectives[0]
        background = uncertain.background()
        thresholds = (best_threshold(background, uncertain.background_peak, objective), *solved.thresholds)
        masses = torch.cat([torch.tensor([background.mean_volume]), uncertain.histogram.mass.cpu()])
        rule = GreedyRule(
            thresholds,
            masses.double().to(uncertain.blocks.device),
            objective.metric,
            objective.smooth,
            uncertain.blocks.dtype,
        )
        certain = 1 - (uncertain.blocks.num_classes - 1) * uncertain.floor / (LEVELS - 1)
        if not (uncertain.certain_voxels and rule.bars_background(certain)):
            break
        solved = replace(solved, uncertain=UncertainVoxels(uncertain.blocks, uncertain.regions, 0))
    rule.note_background(uncertain.certain_voxels, uncertain.certain_background)
    for _, classes in uncertain:
        rule.note(classes)
    return solved, rule


def _by_thresholds(solved: _Solved) -> LinearRule:
    """Every region keeps what its threshold says; of several the one whose threshold is exceeded by most."""
    dtype, device = solved.uncertain.blocks.dtype, solved.uncertain.blocks.device
    edges = [lowest_probability_of(threshold.level, dtype) for threshold in solved.thresholds]
    # A little below, so that the edge itself is a gain.
    costs = torch.nextafter(torch.tensor(edges, dtype=dtype), torch.zeros((), dtype=dtype)).double()
    costs[torch.tensor(edges) == torch.inf] = torch.inf
    return LinearRule(solved.uncertain.regions, torch.ones_like(costs, device=device), costs.to(device))


def _ascend(solved: _Solved, counts: Mapping[str, Tensor]) -> LinearRule:
    """The best rule that the ascent finds from argmax, from greedy and from the thresholds."""
    device = solved.uncertain.blocks.device
    allowed = [threshold.voxels > 0 for threshold in solved.thresholds]

    def tensor(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    thresholds = solved.thresholds
    by_threshold = Point(tensor([t.voxels for t in thresholds]), tensor([t.mass for t in thresholds]))
    values = torch.arange(LEVELS, dtype=torch.float64, device=device) / (LEVELS - 1)
    starts = [by_threshold]
    for mask in counts.values():
        kept, mass = mask.sum(1).double(), mask.double() @ values
        # From an empty region no slope leads anywhere sensible: its threshold stands in.
        missing = kept == 0
        starts.append(
            Point(torch.where(missing, by_threshold.kept, kept), torch.where(missing, by_threshold.mass, mass))
        )
    landscape = Landscape(solved.uncertain, solved.objectives, allowed)
    return max((landscape.climb(start) for start in starts), key=lambda found: found[1])[0]


def _count_masks(uncertain: UncertainVoxels, rules: Mapping[str, Rule]) -> dict[str, Int64[Tensor, "regions levels"]]:
    """Voxels of each region of each rule's label map, by level of the region's probability."""
    counts = {name: torch.zeros_like(uncertain.histogram.counts) for name in rules}
    for _, classes in uncertain:
        levels = level_of(uncertain.regions.probabilities(classes))
        for name, rule in rules.items():
            inside = membership_of(uncertain.regions, rule(classes))
            for total, level, kept in zip(counts[name], levels, inside, strict=True):
                total += torch.bincount(level[kept], minlength=LEVELS)
    return counts


def score_masks(
    distributions: Sequence[Distribution], counts: Int64[Tensor, "regions levels"], objectives: Sequence[Objective]
) -> list[float]:
    """Expected score of each region of a label map, from the levels of the voxels that it keeps."""
    return [
        expected_score_of_mask(distribution, Distribution.of_mask(mask), o.metric, o.solver, o.smooth)
        if bool(mask.any())
        else empty_score_expected(distribution, o.solver, o.empty_score, o.smooth)
        for distribution, mask, o in zip(distributions, counts, objectives, strict=True)
    ]


def _decisions(
    solved: _Solved, counts: Tensor, scores: Sequence[float], argmax_scores: Sequence[float]
) -> tuple[Decision, ...]:
    histogram = solved.uncertain.histogram
    return tuple(
        Decision(
            labels=labels,
            metric=objective.metric,
            threshold=threshold.level / (LEVELS - 1) if threshold.voxels else None,
            voxels=int(mask.sum()),
            expected_score=score,
            argmax_expected_score=argmax_score,
            expected_volume=float(mass),
            volume_sd=distribution.volume_variance**0.5,
        )
        for labels, objective, threshold, distribution, mask, mass, score, argmax_score in zip(
            solved.uncertain.regions.labels,
            solved.objectives,
            solved.thresholds,
            solved.distributions,
            counts,
            histogram.mass,
            scores,
            argmax_scores,
            strict=True,
        )
    )
