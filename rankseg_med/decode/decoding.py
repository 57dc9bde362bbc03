"""From blocks of probabilities to a label map and the decisions behind it."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rankseg_med.decode.ascent import Contested, Landscape, Point
from rankseg_med.decode.blocks import Blocks, Voxels, compared, places, take
from rankseg_med.decode.coherent_score import volume_quantile
from rankseg_med.decode.decision import Decision, Threshold, best_threshold, may_lie_below
from rankseg_med.decode.histogram import Distribution
from rankseg_med.decode.kept import KeptVoxels, LevelPlaces
from rankseg_med.decode.levels import LEVELS, lowest_probability_of
from rankseg_med.decode.objective import Objective
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.rules import (
    FirstRound,
    GainRule,
    GreedyRule,
    HighestInAnyRegion,
    Rule,
    highest,
)
from rankseg_med.decode.scan import Scan
from rankseg_med.decode.settled import Settled
from rankseg_med.decode.validation import SUM_TOLERANCE, ValueCheck
from rankseg_med.decode.wanted import WantedVoxels

Assignment = Literal["ascent", "greedy"]

# How far below a region's own threshold the ascent is followed at first; where it leads on, ever further.
_FIRST_SHARE = 15 / 16
_NEXT_SHARE = 1 / 4
# Mean expected score for which another label map is looked at...
_LEAST_GAIN = 1e-7
# ... and what must be left to gain for the ascent to set out.
_WORTH_CLIMBING = 1e-5
# Voxels of a volume in which all are counted.
_SMALL_VOLUME = 1 << 14


class _LeadsBelowFloor(Exception):  # noqa: N818 - a signal that the volume must be scanned again, without a floor
    """What a scan has set aside as background beyond doubt matters after all."""


@dataclass(frozen=True)
class _Solved:
    """A volume read once, with each region's distribution and threshold.

    Attributes:
        scan: The volume.
        objectives: One per region.
        distributions: One per region.
        thresholds: The best of each region for its objective.
        published: Background's and each class's threshold for independent voxels, where the greedy rule is asked for.
    """

    scan: Scan
    objectives: tuple[Objective, ...]
    distributions: tuple[Distribution, ...]
    thresholds: tuple[Threshold, ...]
    published: tuple[Threshold, ...]

    @property
    def all_thresholds(self) -> list[tuple[Threshold, ...]]:
        """Those of the regions, for every rule that has some."""
        return [self.thresholds, self.published[1:]] if self.published else [self.thresholds]

    def most_to_gain(self, scores: Sequence[float]) -> float:
        """How much the mean score could rise if every region had its threshold; one by itself has nothing to settle."""
        if len(scores) == 1:
            return 0.0
        return sum(best.expected_score for best in self.thresholds) / len(scores) - sum(scores) / len(scores)


def decode_classes(
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
    if assignment == "greedy" and not _greedy_is_defined(regions, objectives):
        raise ValueError(
            "the greedy rule is defined for plain classes with one metric, presence and empty_score; "
            "use assignment='ascent' for regions, and for classes that differ in these"
        )
    floor = floor_for(blocks)
    try:
        return _decode(_solve(Scan(blocks, regions, floor, check), objectives, assignment), assignment)
    except _LeadsBelowFloor:
        return _decode(_solve(Scan(blocks, regions, 0), objectives, assignment), assignment)


def floor_for(blocks: Blocks) -> int:
    """Level up to which a voxel is background beyond doubt: 1/256, lower where very many classes share the rest.

    In a small volume, where counting every voxel costs next to nothing, there is none: expected scores are exact there.
    """
    return min(256, LEVELS // (4 * blocks.num_classes)) if blocks.num_voxels > _SMALL_VOLUME else 0


def _greedy_is_defined(regions: Regions, objectives: Sequence[Objective]) -> bool:
    return regions.are_classes and len({_published(replace(o, min_peak=0.0)) for o in objectives}) == 1


def _published(objective: Objective) -> Objective:
    """What the greedy rule is published for: independent voxels."""
    return replace(objective, coherence=0.0)


def _solve(scan: Scan, objectives: Sequence[Objective], assignment: Assignment) -> _Solved:
    histogram = scan.histogram.cpu()
    distributions = tuple(histogram.distribution(index) for index in range(histogram.regions))
    peaks = histogram.peak.tolist()

    def best(objectives: Sequence[Objective]) -> tuple[Threshold, ...]:
        return tuple(map(best_threshold, distributions, peaks, objectives))

    thresholds = best(objectives)
    published: tuple[Threshold, ...] = ()
    # One active region by itself leaves nothing to be settled: its threshold is the optimum.
    is_settled = (
        assignment == "ascent"
        and len(objectives) == 1
        and thresholds[0].active
        and objectives[0].best_threshold_is_best_mask
    )
    if _greedy_is_defined(scan.regions, objectives) and not is_settled:
        independent = [_published(objective) for objective in objectives]
        # The background has no least peak of its own.
        of_background = replace(independent[0], min_peak=min(objective.min_peak for objective in independent))
        background = best_threshold(scan.background_distribution(), float(scan.background.peak), of_background)
        published = (background, *(thresholds if independent == [*objectives] else best(independent)))
    return _Solved(scan, tuple(objectives), distributions, thresholds, published)


def _decode(solved: _Solved, assignment: Assignment) -> tuple[UInt8[Tensor, " voxels"], tuple[Decision, ...]]:
    """Label map and decisions.

    Raises:
        _LeadsBelowFloor: The scan has set aside what turns out to matter.
    """
    scan, regions = solved.scan, solved.scan.regions
    rules: dict[str, Rule] = {"argmax": highest if regions.are_classes else HighestInAnyRegion(regions)}
    published, background_limit = None, -torch.inf
    if solved.published:
        rules["greedy"] = published = _greedy_rule(solved)
        background_limit = published.background_limit
    if _threshold_may_lie_below_floor(solved) or (scan.certain_voxels and scan.lowest_certain < background_limit):
        raise _LeadsBelowFloor
    by_thresholds = _by_thresholds(solved)
    if assignment == "ascent":
        rules["thresholds"] = by_thresholds

    # NumPy takes zeros from the system, which need not be written: most of a label map is background.
    labels = torch.from_numpy(np.zeros(scan.blocks.num_voxels, np.uint8)).to(scan.blocks.device)
    settled = Settled(regions, _sure(solved, background_limit), labels) if regions.are_classes else None
    wanted = WantedVoxels(scan, _limits(solved, _FIRST_SHARE), background_limit, settled)
    contested = Contested(wanted)

    def note(part: Iterable[Voxels]) -> list[tuple[Tensor, FirstRound | None]]:
        return [
            (contested.among(classes), published.first_round(classes) if published else None) for _, classes in part
        ]

    are_settled = len(regions.labels) == 1 and published is None
    for noted in () if are_settled else wanted.visit(note):
        for some, first_round in noted:
            contested.note(some)
            if published is not None and first_round is not None:
                published.note(first_round)
    if published is not None:
        if settled is not None:
            published.note(settled.first_round)
        published.note_rest(scan.blocks.num_voxels)
    kept = _paint(labels, wanted, rules)
    scores = {name: kept[name].expected_scores(solved.distributions, solved.objectives) for name in rules}
    if assignment == "ascent" and solved.most_to_gain(scores["thresholds"]) > _WORTH_CLIMBING:
        rule, wanted = _climb(solved, contested, kept, by_thresholds)
        if rule is not by_thresholds:
            rules["ascent"] = rule
            kept |= _paint(labels, wanted, {"ascent": rule}, kept["thresholds"])
            scores["ascent"] = kept["ascent"].expected_scores(solved.distributions, solved.objectives)

    # Later entries win ties: what was searched for, then greedy, then argmax.
    chosen = "greedy" if assignment == "greedy" else max(reversed(scores), key=lambda name: sum(scores[name]))
    last = list(rules)[-1]
    if chosen != last:
        _paint(labels, wanted, {chosen: rules[chosen]}, kept[last])
    return labels, _decisions(solved, kept[chosen], scores[chosen], scores["argmax"])


def _threshold_may_lie_below_floor(solved: _Solved) -> bool:
    floor, distributions = solved.scan.floor, solved.distributions
    independent = [_published(objective) for objective in solved.objectives]
    return any(
        may_lie_below(distribution, floor, threshold, objective)
        for thresholds, objectives in zip(solved.all_thresholds, (solved.objectives, independent), strict=False)
        for distribution, threshold, objective in zip(distributions, thresholds, objectives, strict=True)
    )


def _limits(solved: _Solved, share: float) -> Float[Tensor, " regions"]:
    """Below these no rule gives a voxel to a region, if the ascent stays above this share of its threshold."""
    blocks = solved.scan.blocks
    # Argmax takes the highest of classes that sum to one.
    taken_by_argmax = 0.999 * (1 - SUM_TOLERANCE) / blocks.num_classes
    lowest = [min(threshold.level for threshold in some) for some in zip(*solved.all_thresholds, strict=True)]
    edges = torch.tensor([lowest_probability_of(level, blocks.dtype) for level in lowest])
    return (share * edges).clamp(solved.scan.lowest_assignable, taken_by_argmax).to(blocks.device, blocks.dtype)


def _sure(solved: _Solved, background_limit: float) -> Float[Tensor, " regions"]:
    """A class with so much, if no other reaches its limit, is every rule's choice.

    Its own thresholds keep the voxel, argmax takes it, and background does not want it as well.
    """
    blocks = solved.scan.blocks
    highest = [max(threshold.level for threshold in some) for some in zip(*solved.all_thresholds, strict=True)]
    edges = torch.tensor([lowest_probability_of(level, blocks.dtype) for level in highest])
    # Of classes that sum to one, within rounding.
    together = 1 + 2 * SUM_TOLERANCE
    more_than_background = together / 2
    if background_limit > -torch.inf:
        more_than_background = max(more_than_background, together - background_limit)
    return edges.clamp_min(more_than_background).to(blocks.device, blocks.dtype)


def _greedy_rule(solved: _Solved) -> GreedyRule:
    scan, objective = solved.scan, solved.objectives[0]
    masses = torch.cat([scan.background.mass, scan.histogram.mass])
    return GreedyRule(solved.published, masses, objective.metric, objective.smooth, scan.blocks.dtype)


def _by_thresholds(solved: _Solved) -> GainRule:
    """Every region keeps what its threshold says; of several the one whose threshold is exceeded by most."""
    dtype, device = solved.scan.blocks.dtype, solved.scan.blocks.device
    edges = [lowest_probability_of(threshold.level, dtype) for threshold in solved.thresholds]
    # A little below, so that the edge itself is a gain.
    costs = torch.nextafter(torch.tensor(edges, dtype=dtype), torch.zeros((), dtype=dtype)).double()
    costs[torch.tensor(edges) == torch.inf] = torch.inf
    return GainRule(solved.scan.regions, torch.ones_like(costs, device=device), costs.to(device))


def _climb(
    solved: _Solved, contested: Contested, kept: Mapping[str, KeptVoxels], by_thresholds: GainRule
) -> tuple[GainRule, WantedVoxels]:
    """The best rule that the ascent finds and the voxels it may label.

    Raises:
        _LeadsBelowFloor: It may label voxels that the scan has set aside.
    """
    share = _FIRST_SHARE
    while True:
        wanted = contested.wanted
        rule = _ascend(solved, contested, kept, by_thresholds)
        if not rule.reaches_below(wanted.limits):
            settled = wanted.settled
            if settled is None or rule.gains_from(settled.sure):
                return rule, wanted
            return rule, WantedVoxels(solved.scan, wanted.limits, wanted.background_limit)
        if bool((wanted.limits <= solved.scan.lowest_assignable).all()):
            if solved.scan.floor:
                raise _LeadsBelowFloor
            return rule, wanted
        share *= _NEXT_SHARE
        contested = Contested(WantedVoxels(solved.scan, _limits(solved, share), wanted.background_limit))
        contested.note_all()


def _ascend(solved: _Solved, contested: Contested, kept: Mapping[str, KeptVoxels], by_thresholds: GainRule) -> GainRule:
    """The best rule found from argmax, from greedy and from the thresholds; these themselves, if nothing is gained."""
    thresholds = solved.thresholds
    histogram = solved.scan.histogram
    levels = torch.tensor([threshold.level for threshold in thresholds], device=histogram.counts.device)
    from_threshold = torch.arange(LEVELS, device=levels.device) >= levels[:, None]
    mass = torch.tensor([threshold.mass for threshold in thresholds], dtype=torch.float64, device=levels.device)
    by_threshold = Point.of(KeptVoxels(histogram.counts * from_threshold, mass))
    # From an empty region no slope leads anywhere sensible: its threshold stands in.
    starts = [by_threshold, *(Point.of(voxels).or_where_empty(by_threshold) for voxels in kept.values())]
    landscape = Landscape(contested, solved.objectives, [threshold.voxels > 0 for threshold in thresholds])
    rule, height = max((landscape.climb(start) for start in starts), key=lambda found: found[1])
    return rule if height > landscape.height(by_thresholds) + _LEAST_GAIN else by_thresholds


def _paint(
    labels: UInt8[Tensor, " voxels"],
    wanted: WantedVoxels,
    rules: Mapping[str, Rule],
    keeping: KeptVoxels | None = None,
) -> dict[str, KeptVoxels]:
    """Label the wanted voxels by the last rule; what every rule keeps, from what the labels keep before (nothing)."""
    # Rules differ in few voxels: each is counted by what it changes of the one before.
    changes = {name: KeptVoxels.none(wanted.regions, labels.device) for name in rules}

    def paint(part: Iterable[Voxels]) -> list[tuple[str, LevelPlaces, LevelPlaces]]:
        changed = []
        for positions, classes in part:
            probabilities = wanted.regions.probabilities(classes)
            # Fresh labels are not read: pages that were never touched cost more than zeros.
            before = (
                torch.zeros_like(positions, dtype=torch.uint8)
                if keeping is None
                else torch.index_select(labels, 0, positions)
            )
            for name, rule in rules.items():
                given = rule(classes)
                index = places(compared(operator.ne, given, before))
                if len(index):
                    of_changed = take(probabilities, index)
                    gained, lost = (
                        LevelPlaces.of(wanted.regions, of_changed, torch.index_select(some, 0, index))
                        for some in (given, before)
                    )
                    changed.append((name, gained, lost))
                before = given
            labels.scatter_(0, positions, before)
        return changed

    for changed in wanted.visit(paint):
        for name, gained, lost in changed:
            changes[name].add_places(gained)
            changes[name].add_places(lost, -1)
    if keeping is None:
        keeping = wanted.settled.kept if wanted.settled else KeptVoxels.none(wanted.regions, labels.device)
    kept = {}
    for name in rules:
        kept[name] = keeping = keeping + changes.pop(name)
    return kept


def _decisions(
    solved: _Solved, kept: KeptVoxels, scores: Sequence[float], argmax_scores: Sequence[float]
) -> tuple[Decision, ...]:
    histogram, counts = solved.scan.histogram, kept.counts.cpu()
    decisions = []
    for index, (objective, distribution) in enumerate(zip(solved.objectives, solved.distributions, strict=True)):
        threshold, own, mass = solved.thresholds[index], counts[index], float(kept.mass[index])
        independent, coherent = (
            scores[index]
            if coherence == objective.coherence
            else replace(objective, coherence=coherence).score_of_mask(distribution, own, mass)
            for coherence in (0.0, 1.0)
        )
        decisions.append(
            Decision(
                labels=solved.scan.regions.labels[index],
                metric=objective.metric,
                threshold=threshold.level / (LEVELS - 1) if threshold.voxels else None,
                voxels=int(own.sum()),
                expected_score=scores[index],
                argmax_expected_score=argmax_scores[index],
                independent_score=independent,
                coherent_score=coherent,
                presence_probability=float(histogram.peak[index]),
                expected_volume=float(histogram.mass[index]),
                volume_sd=distribution.volume_variance**0.5,
                volume_interval=(volume_quantile([distribution], 0.05), volume_quantile([distribution], 0.95)),
            )
        )
    return tuple(decisions)
