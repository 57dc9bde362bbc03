r"""Decoding for the mean over several models of the expected score.

Each of $M$ models (members) gives the voxels probabilities $p_{ki}$, and with them a posterior of its own. A mask $A$
is worth $J(A) = \frac{1}{M} \sum_k \mathrm{score}_k(A)$, the mean of its expected scores under the members, and a label
map the mean over its regions. Decoding the mean probability is something else: it mixes the members before it asks how
voxels go together, and so forgets that the members may disagree about the volume.

For a given volume $t$ the best mask still ranks voxels by a sum of what they gain under each member; for independent
voxels and `rma` Dice, by the members' probabilities with weights $1 / (t + m_k + 1)$. So to the
[`ascent`][rankseg_med.decode.ascent] every region of every member is a region of its own, a label gains by
all that hold it, and gains and costs are computed anew where the rule leads.

- Always: $J$ of the result is at least that of the mean's decoding, of each member's decoding, of argmax of the mean
  and of the empty map. They are candidates, and $J$ itself chooses.
- One region, Dice, at most 128 uncertain voxels: no mask of them is better. For a given volume $J$ is linear, for
  independent voxels

    $$J(A) = \frac{2}{M} \sum_{i \in A} \sum_k p_{ki} \, E_k\left[\frac{1}{t + 1 + G_{-i}}\right],$$

    so that the $t$ largest terms are the best $t$ voxels, and every $t$ is tried.
- The rest is a search that promises no optimum. IoU of one region as small: for every $t$ the voxels are ranked by the
  gradient of $J$, anew for the mask so found (for `rma`, convex in the mask for a given $t$, that never lowers $J$),
  from the mean's and from each member's ranking; then up to two voxels at a time change sides while $J$ rises. Larger
  volumes and several regions: the ascent from the candidates above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor

from rankseg_med.decode.ascent import Contested, Landscape, Point
from rankseg_med.decode.blocks import Blocks, TensorBlocks, TileSpan
from rankseg_med.decode.coherent_score import volume_quantile
from rankseg_med.decode.decision import Decoded
from rankseg_med.decode.decoder import RankSEGDecoder
from rankseg_med.decode.decoding import decode_classes, floor_for
from rankseg_med.decode.expected_score import Metric, rma_score
from rankseg_med.decode.histogram import Distribution
from rankseg_med.decode.kept import KeptVoxels
from rankseg_med.decode.levels import LEVELS, level_of
from rankseg_med.decode.objective import Objective
from rankseg_med.decode.regions import Regions
from rankseg_med.decode.rules import GainRule, Rule, highest
from rankseg_med.decode.scan import Scan
from rankseg_med.decode.session import DecodeSession
from rankseg_med.decode.validation import ValueCheck, check_layout
from rankseg_med.decode.wanted import WantedVoxels
from rankseg_med.decode.workers import on_workers

# So few voxels of one region are searched mask by mask.
_FEW_VOXELS = 128
_RANKINGS = 4

_Score: TypeAlias = Callable[[Float64[Tensor, "masks n"], Float64[Tensor, " masks"]], Float64[Tensor, " masks"]]


@torch.no_grad()
def decode_ensemble(
    members: Sequence[Float[Tensor, "classes *spatial"]] | Float[Tensor, "members classes *spatial"],
    decoder: RankSEGDecoder,
) -> Decoded:
    """Decode several models' probabilities of one study for the mean over models of the expected score.

    Args:
        members: ``(members, classes, *spatial)``, or as many volumes ``(classes, *spatial)`` of one shape, dtype and
            device; each as `RankSEGDecoder.decode` takes it. One member gives what the decoder itself gives.
        decoder: Multiclass, with assignment ``"ascent"``. ``min_peak`` holds for the decodings of the mean and of
            each member; a region that all of them leave empty is not sought.

    Returns:
        Label map and decisions. Scores, ``presence_probability`` and ``expected_volume`` are means over members;
        ``volume_sd`` and ``volume_interval`` are those of the mixture: its variance is the members' mean variance and
        the variance of their expected volumes; ``threshold`` is that of the mean's decoding.

    Raises:
        TypeError: A member is no floating-point tensor.
        ValueError: No member, members that differ in shape, dtype or device, a member that is no probability volume,
            or a decoder that is multilabel or greedy.
    """
    volumes = [*members]
    _check_decoder(decoder)
    _check(volumes)
    if len(volumes) == 1:
        return decoder.decode(volumes[0])
    return _decode([TensorBlocks(volume) for volume in volumes], decoder, volumes[0].shape[1:], ValueCheck)


@torch.no_grad()
def finalize_ensemble(sessions: Sequence[DecodeSession]) -> Decoded:
    """`decode_ensemble` of members that were collected slab by slab, one session each; closes the sessions.

    Args:
        sessions: Sessions of one volume and one decoder, each filled.

    Raises:
        ValueError: No session, slices are missing, sessions of different volumes, or a decoder that is multilabel or
            greedy.
    """
    if not sessions:
        raise ValueError("an ensemble needs at least one member, got none")
    decoder = sessions[0].decoder
    if not isinstance(decoder, RankSEGDecoder):
        raise TypeError(f"an ensemble needs sessions of a RankSEGDecoder, got {type(decoder).__name__}")
    _check_decoder(decoder)
    found = [f"{session.num_classes} classes of {tuple(session.spatial_shape)}" for session in sessions]
    if len(set(found)) > 1:
        raise ValueError(f"members must be of one volume, got {', '.join(found)}")
    for session in sessions:
        session.check_complete()
    if len(sessions) == 1:
        return sessions[0].finalize()
    blocks = [block for session in sessions for block in session.volumes()]
    decoded = _decode(blocks, decoder, sessions[0].spatial_shape)
    for session in sessions:
        session.close()
    return decoded


def _decode(
    blocks: Sequence[Blocks],
    decoder: RankSEGDecoder,
    spatial_shape: torch.Size,
    check: Callable[[], ValueCheck] | None = None,
) -> Decoded:
    pieces = len(blocks[0].spans())
    return on_workers(lambda: _decode_members(blocks, decoder, spatial_shape, check), blocks[0].device, pieces)


def _decode_members(
    blocks: Sequence[Blocks],
    decoder: RankSEGDecoder,
    spatial_shape: torch.Size,
    check: Callable[[], ValueCheck] | None,
) -> Decoded:
    regions = Regions.of(blocks[0].num_classes, decoder.regions)
    objectives = decoder.objectives(len(regions.labels))
    own = [decode_classes(member, regions, objectives, "ascent", check() if check else None)[0] for member in blocks]
    mean, decisions = decode_classes(_MemberBlocks(blocks, stacked=False), regions, objectives, "ascent")
    for floor in (floor_for(blocks[0]), 0):
        ensemble = _Ensemble(blocks, regions, objectives, floor)
        starts = [ensemble.evaluate(label_map) for label_map in (mean, *own, torch.zeros_like(mean))]
        rule = ensemble.climb(starts)
        if not (ensemble.reaches_below_floor(rule) or any(start.reaches_below_floor for start in starts)):
            break
    argmax = ensemble.evaluate(ensemble.label(lambda classes: highest(classes[: regions.num_classes])))
    found = [ensemble.evaluate(ensemble.label(rule)), *ensemble.search(starts)]
    best = max([*starts, argmax, *found], key=lambda candidate: float(candidate.scores.sum()))
    means = ensemble.of_distributions(lambda distribution: distribution.mean_volume)
    variances = ensemble.of_distributions(lambda distribution: distribution.volume_variance)
    independent, coherent = (ensemble.scores(best.kept, coherence) for coherence in (0.0, 1.0))
    decisions = tuple(
        replace(
            decision,
            voxels=int(best.kept.volume[region]),
            expected_score=float(best.scores[:, region].mean()),
            argmax_expected_score=float(argmax.scores[:, region].mean()),
            independent_score=float(independent[:, region].mean()),
            coherent_score=float(coherent[:, region].mean()),
            presence_probability=float(ensemble.peaks[:, region].mean()),
            expected_volume=float(means[:, region].mean()),
            volume_sd=float((variances[:, region].mean() + means[:, region].var(correction=0)).sqrt()),
            volume_interval=ensemble.volume_interval(region),
        )
        for region, decision in enumerate(decisions)
    )
    return Decoded(best.label_map.reshape(spatial_shape), decisions)


class _MemberBlocks(Blocks):
    """The classes of the members' mean and, if stacked, of the first member, of the second, ..."""

    def __init__(self, members: Sequence[Blocks], *, stacked: bool) -> None:
        self.members, self.stacked, first = members, stacked, members[0]
        self.num_classes = first.num_classes * (1 + len(members) if stacked else 1)
        self.num_voxels, self.dtype, self.device = first.num_voxels, first.dtype, first.device

    def tiles(self, span: TileSpan, which: slice | Int64[Tensor, " some"]) -> Float[Tensor, "classes some tile"]:
        members = torch.stack([member.tiles(span, which) for member in self.members])
        return torch.cat([members.mean(0), members.flatten(0, 1)]) if self.stacked else members.mean(0)


@dataclass(frozen=True)
class _Pairs(Regions):
    """The regions of the first member, of the second, ...; a label lies in the same regions of each."""

    of_each: Regions

    def probabilities(self, classes: Float[Tensor, "classes *voxels"]) -> Float[Tensor, "regions *voxels"]:
        members = torch.unflatten(classes, 0, (-1, self.of_each.num_classes))[1:]
        return torch.cat([self.of_each.probabilities(member) for member in members])


class _MemberVoxels(WantedVoxels):
    """Voxels that could be foreground to some member: the others have a say in each of them."""

    def contested(self, region: Float[Tensor, "regions n"]) -> Bool[Tensor, " n"]:
        return torch.ones_like(region[0], dtype=torch.bool)


class _Candidate(NamedTuple):
    """A label map; what it keeps of each pair and its expected scores; whether it keeps voxels that were set aside."""

    label_map: UInt8[Tensor, " voxels"]
    kept: KeptVoxels
    scores: Float64[Tensor, "members regions"]
    reaches_below_floor: bool


class _Ensemble:
    """What label maps are worth to the members, and better ones. A pair is a member and a region."""

    def __init__(
        self, members: Sequence[Blocks], regions: Regions, objectives: Sequence[Objective], floor: int
    ) -> None:
        self.shape = (len(members), len(regions.labels))
        self.objectives = tuple(objectives) * len(members)
        blocks = _MemberBlocks(members, stacked=True)
        self.pairs = _Pairs(blocks.num_classes, regions.labels * len(members), regions)
        self.scan = Scan(blocks, self.pairs, floor)
        # Without a floor also voxels that round to level 0 count.
        lowest = self.scan.lowest_assignable if floor else -torch.inf
        self.voxels = _MemberVoxels(self.scan, torch.full((len(self.pairs.labels),), lowest, device=blocks.device))
        histogram = self.scan.histogram.cpu()
        self.distributions = [histogram.distribution(pair) for pair in range(histogram.regions)]
        self.peaks = histogram.peak.view(self.shape)

    def scores(self, kept: KeptVoxels, coherence: float | None = None) -> Float64[Tensor, "members regions"]:
        """Expected scores of what a label map keeps, by the objectives' posterior or by another."""
        objectives = self.objectives
        if coherence is not None:
            objectives = tuple(replace(objective, coherence=coherence) for objective in objectives)
        scores = kept.expected_scores(self.distributions, objectives)
        return torch.tensor(scores, dtype=torch.float64).view(self.shape)

    def volume_interval(self, region: int) -> tuple[float, float]:
        """5 % and 95 % quantile of the volume, each member's level sets being as likely."""
        own = self.distributions[region :: self.shape[1]]
        return volume_quantile(own, 0.05), volume_quantile(own, 0.95)

    def of_distributions(self, value: Callable[[Distribution], float]) -> Float64[Tensor, "members regions"]:
        values = [value(distribution) for distribution in self.distributions]
        return torch.tensor(values, dtype=torch.float64).view(self.shape)

    def label(self, rule: Rule) -> UInt8[Tensor, " voxels"]:
        """Label map of a rule for stacked classes."""
        blocks = self.scan.blocks
        label_map = torch.zeros(blocks.num_voxels, dtype=torch.uint8, device=blocks.device)
        for index, classes in self.voxels:
            label_map[index] = rule(classes)
        return label_map

    def evaluate(self, label_map: UInt8[Tensor, " voxels"]) -> _Candidate:
        kept = KeptVoxels.none(self.pairs, label_map.device)
        aside = int(label_map.count_nonzero())
        for index, classes in self.voxels:
            labels = label_map[index]
            aside -= int(labels.count_nonzero())
            kept.add(self.pairs, self.pairs.probabilities(classes), labels)
        return _Candidate(label_map, kept, self.scores(kept), aside > 0)

    def climb(self, starts: Sequence[_Candidate]) -> GainRule:
        """The best rule that the ascent finds; a region that a start leaves empty stands as in its best start."""
        best = torch.stack([start.scores.mean(0) for start in starts]).argmax(0).repeat(self.shape[0]).tolist()
        points = [Point.of(start.kept) for start in starts]
        stand_in = Point(
            *(_each_from(values, best) for values in zip(*(vars(point).values() for point in points), strict=True))
        )
        contested = Contested(self.voxels)
        contested.note_all()
        landscape = Landscape(contested, self.objectives, (stand_in.kept > 0).tolist())
        climbed = (landscape.climb(point.or_where_empty(stand_in)) for point in points)
        return max(climbed, key=lambda found: found[1])[0]

    def reaches_below_floor(self, rule: GainRule) -> bool:
        at_floor = torch.full((len(self.pairs.labels), 1), self.scan.floor / (LEVELS - 1), dtype=torch.float64)
        gains = rule.gains(at_floor.to(rule.weights.device)).view(self.shape)
        return self.scan.floor > 0 and bool((gains.sum(0) > 0).any())

    def search(self, starts: Sequence[_Candidate]) -> list[_Candidate]:
        """The best mask found voxel by voxel, if there is one region and few voxels."""
        if self.shape[1] > 1 or all(float(start.kept.volume[0]) == 0 for start in starts):
            return []
        blocks: list[Tensor] = []
        for _, classes in self.voxels:
            blocks.append(classes)
            if sum(block.shape[1] for block in blocks) > _FEW_VOXELS:
                return []
        classes = torch.cat(blocks, 1)
        p = level_of(self.pairs.probabilities(classes)).cpu().double() / (LEVELS - 1)
        mask = _best_mask(p, _score_of_masks(p, self.distributions, self.objectives[0])).to(classes.device)
        region = torch.tensor(self.pairs.labels[0], dtype=torch.uint8, device=classes.device)
        labels = torch.where(mask, region[highest(classes[region.long()]).long()], 0)
        parts = iter(torch.split(labels, [block.shape[1] for block in blocks]))
        return [self.evaluate(self.label(lambda _: next(parts)))]


def _each_from(values: Sequence[Float64[Tensor, "pairs *n"]], which: Sequence[int]) -> Float64[Tensor, "pairs *n"]:
    return torch.stack([values[number][pair] for pair, number in enumerate(which)])


def _best_mask(p: Float64[Tensor, "members n"], score: _Score) -> Bool[Tensor, " n"]:
    """Rank by the gradient for every volume, then let up to two voxels change sides while it pays."""
    n = p.shape[1]
    volumes, first = torch.arange(1.0, n + 1, dtype=torch.float64), torch.ones((n, n), dtype=torch.float64).tril()
    mask, height = torch.zeros(n, dtype=torch.float64), -torch.inf
    for ranking in (p.mean(0), *p):
        ranking = ranking.expand(n, n)
        for _ in range(_RANKINGS):
            masks = torch.zeros_like(first).scatter_(1, ranking.argsort(1, descending=True), first)
            with torch.enable_grad():
                scores = score(masks.requires_grad_(), volumes)
                (ranking,) = torch.autograd.grad(scores.sum(), masks)
            best = int(scores.argmax())
            if scores[best].item() > height:
                mask, height = masks[best].detach(), scores[best].item()
    one = torch.eye(n, dtype=torch.float64)
    changes = torch.cat([one, *(one[voxel] + one[voxel + 1 :] for voxel in range(n - 1))])
    while True:
        neighbours = (mask - changes).abs()
        scores = score(neighbours, neighbours.sum(1))
        if float(scores.max()) <= height + 1e-15:
            return mask > 0
        mask, height = neighbours[scores.argmax()], float(scores.max())


def _score_of_masks(p: Float64[Tensor, "members n"], distributions: Sequence[Distribution], o: Objective) -> _Score:
    """J of masks and their volumes."""

    def score(masks: Float64[Tensor, "masks n"], volumes: Float64[Tensor, " masks"]) -> Float64[Tensor, " masks"]:
        total = torch.zeros_like(volumes)
        for own, distribution in zip(p, distributions, strict=True):
            if o.coherence < 1:
                total = total + (1 - o.coherence) * _independent(masks, volumes, own, distribution, o)
            if o.coherence > 0:
                total = total + o.coherence * _coherent(masks, volumes, own, distribution, o.metric)
        return total / len(p)

    return score


def _independent(
    masks: Float64[Tensor, "masks n"],
    volumes: Float64[Tensor, " masks"],
    p: Float64[Tensor, " n"],
    distribution: Distribution,
    o: Objective,
) -> Float64[Tensor, " masks"]:
    """Over u as it stands the integrand is a polynomial, exact by Gauss-Legendre."""
    mass = masks @ p
    if o.solver == "rma":
        return rma_score(volumes, mass, distribution.mean_volume, o.metric, o.smooth)
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(len(p) + 32))
    u = (nodes + 1) / 2
    survival = torch.log1p(-p[:, None] * (1 - u))
    rest = distribution.rest_counts @ torch.log1p(-distribution.rest_probabilities[:, None] * (1 - u))
    everything = volumes[:, None] * u.log() + survival.sum(0) + rest
    if o.metric == "dice":
        return (everything.exp() * (masks @ (p[:, None] / survival.exp()))) @ weights
    return mass * ((everything - u.log() - masks @ survival).exp() @ (weights / 2))


def _coherent(
    masks: Float64[Tensor, "masks n"],
    volumes: Float64[Tensor, " masks"],
    p: Float64[Tensor, " n"],
    distribution: Distribution,
    metric: Metric,
) -> Float64[Tensor, " masks"]:
    """Against each level set; those of voxels that are set aside, or at level 0, hold all of the mask's others."""
    sets = distribution.level_sets
    edges = torch.zeros_like(sets.weights)
    edges[: len(distribution.probabilities)] = distribution.probabilities
    edges[len(distribution.probabilities) :] = 1 / LEVELS
    common = masks @ (p[:, None] >= edges).double()
    both = volumes[:, None] + sets.volumes
    return (2 * common / both if metric == "dice" else common / (both - common)) @ sets.weights


def _check_decoder(decoder: RankSEGDecoder) -> None:
    if decoder.mode != "multiclass" or decoder.assignment != "ascent":
        raise ValueError(
            "an ensemble needs a decoder with mode='multiclass' and assignment='ascent', "
            f"got mode={decoder.mode!r} and assignment={decoder.assignment!r}"
        )


def _check(volumes: Sequence[Tensor]) -> None:
    if not volumes:
        raise ValueError("an ensemble needs at least one member, got none")
    for volume in volumes:
        check_layout(volume)
    found = [f"{tuple(volume.shape)} {volume.dtype} on {volume.device}" for volume in volumes]
    if len(set(found)) > 1:
        raise ValueError(f"members must agree in shape, dtype and device, got {', '.join(found)}")
