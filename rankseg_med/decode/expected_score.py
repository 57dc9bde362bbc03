r"""Expected Dice and IoU of a set of voxels of one region, voxels being independent.

Let $p_i$ be the voxels' probabilities, independent of each other, $m$ their sum, $G$ the random foreground volume, and
keep a set $A$ of $t$ voxels with sum $S$. It scores, in expectation,

- Dice: $2 \sum_{j \in A} p_j \, E[1 / (t + 1 + G_{-j})]$, where $G_{-j}$ leaves voxel $j$ out,
- IoU: $S \, E[1 / (t + G_{\notin A})]$, where $G_{\notin A}$ counts the voxels that were not kept.

For a given $t$ the best set is the $t$ most probable voxels. Ways to compute the expectation ("solvers"):

- `exact`: $E[1/(a + X)] = \int_0^1 u^{a-1} E[u^X] \, du$, where $E[u^X] = \prod_i (1 - p_i (1 - u))$, by Gauss-Laguerre
  quadrature after $u = e^{-x/M}$, with $M$ near $a + E[X]$, where the integrand is close to $e^{-x}$.
- `rma` replaces $E[1/(a + X)]$ by $1/(a + E[X])$: $2 S / (t + m + 1)$ and $S / (t + m - S)$ (Wang and Dai, NeurIPS
  2025); with smoothing $s$: $2 S / (t + m + 1 + s) + s / (t + m + s)$ and $(S + s) / (t + m - S + s)$.
- `ba`, Dice only, the blind approximation (Dai and Li, JMLR 24(224), 2023), which does not leave voxel $j$ out:
  $2 S \, E[1 / (t + 1 + G)]$.

The first two are never far apart: since $1 - q \le e^{-q}$,

$$\frac{1}{a + E[X]} \le E\left[\frac{1}{a + X}\right] \le \frac{1}{a + E[X] - 1},$$

so only thresholds whose upper bound reaches the best lower bound (the best `rma` score) can be optimal, and only those
are integrated.

Everything is float64 on the CPU. Voxels of equal level are kept or dropped together.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rankseg_med.decode.histogram import Distribution

Metric = Literal["dice", "iou"]
Solver = Literal["exact", "rma", "ba"]

_NODES, _WEIGHTS = (torch.from_numpy(array) for array in np.polynomial.laguerre.laggauss(32))
# Nodes laid for one M serve candidates whose own M is 0.75 to 1.5 times that.
_WIDEST_GROUP = 2.0
# Where 1 - u stays below this, sums over voxels are power series whose next term is below 1e-16.
_SERIES_LIMIT = 0.1
_SERIES_TERMS = 16


class Bounds(NamedTuple):
    """What is known of the expected scores of all thresholds before any is integrated."""

    lower: Float64[Tensor, " n"]
    upper: Float64[Tensor, " n"]


def score_bounds(distribution: Distribution, metric: Metric, solver: Solver, smooth: float = 0.0) -> Bounds:
    """Bounds of the expected scores of keeping every voxel from the most probable down to each level.

    Args:
        distribution: Distribution of ``n`` levels.
        metric: ``"dice"`` or ``"iou"``.
        solver: ``"rma"``, whose scores these are, or another.
        smooth: Smoothing of ``"rma"``; the others are defined for 0 only.
    """
    p, n = distribution.probabilities, distribution.counts
    kept, mass = n.cumsum(0), (n * p).cumsum(0)
    total = distribution.mean_volume
    approximate = rma_score(kept, mass, total, metric, smooth)
    if solver == "rma":
        return Bounds(approximate, approximate)
    denominator = kept + total + 1 if metric == "dice" else kept + total - mass
    # An upper bound of the exact score is the approximation with its denominator lowered: by one for the bound above,
    # and for Dice by one more, since a voxel's own probability leaves the expected volume.
    slack = 2.0 if metric == "dice" else 1.0
    upper = torch.where(
        denominator > slack, approximate * denominator / (denominator - slack).clamp_min(1e-300), torch.inf
    )
    return Bounds(approximate, upper)


def expected_scores(
    distribution: Distribution, metric: Metric, solver: Solver, which: Int64[Tensor, " some"]
) -> Float64[Tensor, " some"]:
    """Expected scores, by quadrature, of keeping every voxel from the most probable down to some levels.

    Args:
        distribution: Distribution of ``n`` levels.
        metric: ``"dice"`` or ``"iou"``.
        solver: ``"exact"`` or ``"ba"``.
        which: Ascending places of those levels, from 0 to ``n - 1``.

    Returns:
        ``(some,)`` scores in [0, 1].
    """
    p, n = distribution.probabilities, distribution.counts
    kept, mass = n.cumsum(0), (n * p).cumsum(0)
    total = distribution.mean_volume
    denominator = kept + total + 1 if metric == "dice" else kept + total - mass
    scores = [kept.new_zeros(0)]
    while len(which):
        # Denominators grow with the kept volume, so that those that can share quadrature nodes are a run.
        smallest = denominator[which[0]]
        in_group = denominator[which] <= _WIDEST_GROUP * smallest
        group, which = which[in_group], which[~in_group]
        scale = float(smallest if len(group) == 1 else smallest * _WIDEST_GROUP / 1.5)
        scores.append(_integrate(distribution, kept, mass, group, scale, metric, blind=solver == "ba"))
    return torch.cat(scores)


def expected_score_of_mask(
    distribution: Distribution,
    kept: Distribution,
    metric: Metric,
    solver: Solver,
    smooth: float = 0.0,
    mass: float | None = None,
) -> float:
    """Expected score of any set of voxels, not only of the most probable ones.

    Args:
        distribution: Distribution of all voxels.
        kept: Distribution of the voxels of the set; those of its rest have no mass.
        metric: ``"dice"`` or ``"iou"``.
        solver: ``"rma"``, or anything else for the exact expectation.
        smooth: Smoothing of ``"rma"``.
        mass: Sum of the set's probabilities, if it is known better than by level.

    Returns:
        Score in [0, 1]; 0 for an empty set (see `empty_score_expected`).
    """
    by_level = float(kept.counts @ kept.probabilities)
    volume, mass = float(kept.counts.sum() + kept.rest_counts.sum()), by_level if mass is None else mass
    total = distribution.mean_volume
    if solver == "rma":
        kept_volume, kept_mass = torch.tensor([volume, mass], dtype=torch.float64)
        return float(rma_score(kept_volume, kept_mass, total, metric, smooth))
    if not mass:
        return 0.0
    scale = volume + total + 1 if metric == "dice" else volume + total - mass
    v = _one_minus_u(scale)
    everything = _log_survival(distribution.probabilities, distribution.counts, v) + _log_survival_of_rest(
        distribution, v
    )
    if metric == "dice":
        odds = _odds(kept.probabilities, kept.counts, v) + (mass - by_level)
        exponent = _NODES * (1 - (volume + 1) / scale) + everything
        return float(2 / scale * (exponent.exp() * odds) @ _WEIGHTS)
    missed = everything - (_log_survival(kept.probabilities, kept.counts, v) - (mass - by_level) * v)
    return float(mass / scale * (_NODES * (1 - volume / scale) + missed).exp() @ _WEIGHTS)


def rma_score(
    kept: Float64[Tensor, "*n"], mass: Float64[Tensor, "*n"], total: float, metric: Metric, smooth: float = 0.0
) -> Float64[Tensor, "*n"]:
    """Reciprocal moment approximation from a set's volume and mass and the mass of all voxels; 0 where 0 / 0."""
    if metric == "dice":
        score = 2 * mass / (kept + total + 1 + smooth)
        return score + smooth / (kept + total + smooth) if smooth else score
    denominator = kept + total - mass + smooth
    return torch.where(denominator > 0, (mass + smooth) / denominator.clamp_min(1e-300), 0.0)


def empty_score_expected(distribution: Distribution, solver: Solver, empty_score: float, smooth: float = 0.0) -> float:
    """Expected score of keeping nothing.

    ``empty_score`` times the probability that nothing is there, ``prod(1 - p)``; for ``rma`` with smoothing
    ``smooth / (m + smooth)``, as the reference package has it.
    """
    if solver == "rma" and smooth > 0:
        return smooth / (distribution.mean_volume + smooth)
    if empty_score == 0:
        return 0.0
    p, n = distribution.probabilities, distribution.counts
    if len(p) and float(p[0]) == 1:
        return 0.0
    rest = distribution.rest_counts @ torch.log1p(-distribution.rest_probabilities)
    return empty_score * float((n @ torch.log1p(-p) + rest).exp())


def _integrate(
    distribution: Distribution,
    kept: Float64[Tensor, " n"],
    mass: Float64[Tensor, " n"],
    group: Int64[Tensor, " g"],
    scale: float,
    metric: Metric,
    *,
    blind: bool,
) -> Float64[Tensor, " g"]:
    """Exact (or blind) scores of a run of thresholds with the quadrature nodes of one scale."""
    p, n = distribution.probabilities, distribution.counts
    v = _one_minus_u(scale)
    first, last = int(group[0]), int(group[-1]) + 1
    if metric == "dice":
        exponent = _NODES * (1 - (kept[group, None] + 1) / scale)
        exponent = exponent + _log_survival(p, n, v) + _log_survival_of_rest(distribution, v)
        if blind:
            return 2 * mass[group] / scale * (exponent.exp() @ _WEIGHTS)
        before = _odds(p[:first], n[:first], v)
        partial = before + _cumulative_odds(p[first:last], n[first:last], v)[group - first]
        return 2 / scale * (exponent.exp() * partial) @ _WEIGHTS
    beyond = _log_survival(p[last:], n[last:], v) + _log_survival_of_rest(distribution, v)
    run = _cumulative_log_survival(p[first:last], n[first:last], v)
    after = run[-1] - run[group - first]
    exponent = _NODES * (1 - kept[group, None] / scale) + beyond + after
    return mass[group] / scale * (exponent.exp() @ _WEIGHTS)


def _one_minus_u(scale: float) -> Float64[Tensor, " nodes"]:
    # Short of 1 by a rounding unit at least: a voxel of probability 1 would otherwise give log(0) at the far nodes,
    # whose weight is below 1e-40.
    return (-torch.expm1(-_NODES / scale)).clamp_max(1 - torch.finfo(torch.float64).eps)


def _log_survival_of_rest(distribution: Distribution, v: Float64[Tensor, " nodes"]) -> Float64[Tensor, " nodes"]:
    return distribution.rest_counts @ torch.log1p(-distribution.rest_probabilities[:, None] * v)


def _log_survival(
    p: Float64[Tensor, " n"], counts: Float64[Tensor, " n"], v: Float64[Tensor, " nodes"]
) -> Float64[Tensor, " nodes"]:
    """Sum over voxels of log(1 - p v), for each node."""
    if v[-1] > _SERIES_LIMIT:
        return counts @ torch.log1p(-p[:, None] * v)
    return _log_survival_series(counts @ _powers(p), v)


def _odds(
    p: Float64[Tensor, " n"], counts: Float64[Tensor, " n"], v: Float64[Tensor, " nodes"]
) -> Float64[Tensor, " nodes"]:
    """Sum over voxels of p / (1 - p v), for each node."""
    if v[-1] > _SERIES_LIMIT:
        return (counts * p) @ (1 / (1 - p[:, None] * v))
    return _odds_series(counts @ _powers(p), v)


def _cumulative_log_survival(
    p: Float64[Tensor, " n"], counts: Float64[Tensor, " n"], v: Float64[Tensor, " nodes"]
) -> Float64[Tensor, "n nodes"]:
    """`_log_survival` of the first voxel levels up to each."""
    if v[-1] > _SERIES_LIMIT:
        return (counts[:, None] * torch.log1p(-p[:, None] * v)).cumsum(0)
    return _log_survival_series((counts[:, None] * _powers(p)).cumsum(0), v)


def _cumulative_odds(
    p: Float64[Tensor, " n"], counts: Float64[Tensor, " n"], v: Float64[Tensor, " nodes"]
) -> Float64[Tensor, "n nodes"]:
    """`_odds` of the first voxel levels up to each."""
    if v[-1] > _SERIES_LIMIT:
        return ((counts * p)[:, None] / (1 - p[:, None] * v)).cumsum(0)
    return _odds_series((counts[:, None] * _powers(p)).cumsum(0), v)


def _powers(p: Float64[Tensor, " n"]) -> Float64[Tensor, "n terms"]:
    """p, p^2, p^3, ..."""
    return p[:, None].expand(-1, _SERIES_TERMS).cumprod(1)


def _log_survival_series(
    power_sums: Float64[Tensor, "*n terms"], v: Float64[Tensor, " nodes"]
) -> Float64[Tensor, "*n nodes"]:
    """log(1 - p v) = -sum_k (p v)^k / k."""
    k = torch.arange(1, _SERIES_TERMS + 1, dtype=torch.float64)
    return -(power_sums / k) @ v ** k[:, None]


def _odds_series(power_sums: Float64[Tensor, "*n terms"], v: Float64[Tensor, " nodes"]) -> Float64[Tensor, "*n nodes"]:
    """P / (1 - p v) = sum_k p^k v^(k - 1)."""
    k = torch.arange(_SERIES_TERMS, dtype=torch.float64)
    return power_sums @ v ** k[:, None]
