r"""Expected Dice and IoU of keeping the most probable voxels of one class.

Let $p_1 \ge p_2 \ge \dots$ be the voxels' probabilities, independent of each other, $S(t)$ the sum of the first $t$,
$m$ the sum of all, and $G$ the random foreground volume. Keeping the first $t$ voxels scores, in expectation,

- Dice: $2 \sum_{j \le t} p_j \, E[1 / (t + 1 + G_{-j})]$, where $G_{-j}$ leaves voxel $j$ out,
- IoU: $S(t) \, E[1 / (t + G_{>t})]$, where $G_{>t}$ counts the voxels that were not kept.

`rma` replaces $E[1/(a + X)]$ by $1/(a + E[X])$: $2 S(t) / (t + m + 1)$ and $S(t) / (t + m - S(t))$ (Wang and Dai,
NeurIPS 2025). `exact` uses $E[1/(a + X)] = \int_0^1 u^{a-1} E[u^X] \, du$, where $E[u^X] = \prod_i (1 - p_i (1 - u))$,
by Gauss-Laguerre quadrature after $u = e^{-x/M}$, with $M$ near $a + E[X]$, where the integrand is close to $e^{-x}$.

The two are never far apart: since $1 - q \le e^{-q}$,

$$\frac{1}{a + E[X]} \le E\left[\frac{1}{a + X}\right] \le \frac{1}{a + E[X] - 1},$$

so only thresholds whose upper bound reaches the best lower bound (the best `rma` score) can be optimal, and only those
are integrated.

Everything is float64 on the CPU. Voxels of equal probability are kept or dropped together: arrays run over the distinct
probabilities in descending order, with their counts.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

Metric = Literal["dice", "iou"]
Solver = Literal["exact", "rma"]

_NODES, _WEIGHTS = (torch.from_numpy(array) for array in np.polynomial.laguerre.laggauss(32))
# Nodes laid for one M serve candidates whose own M is 0.75 to 1.5 times that.
_WIDEST_GROUP = 2.0


def expected_scores(
    probabilities: Float64[Tensor, " n"], counts: Int64[Tensor, " n"], metric: Metric, solver: Solver
) -> Float64[Tensor, " n"]:
    """Expected score of keeping every voxel whose probability is at least ``probabilities[k]``, for each k.

    Args:
        probabilities: ``(n,)`` distinct, descending, in (0, 1].
        counts: ``(n,)`` voxels of each, at least 1.
        metric: ``"dice"`` or ``"iou"``.
        solver: ``"exact"``, or ``"rma"`` for the reciprocal moment approximation.

    Returns:
        ``(n,)`` scores in [0, 1]. ``exact`` gives minus infinity where a bound shows that a threshold is not the best.
    """
    voxels = counts.double()
    kept = voxels.cumsum(0)
    mass = (voxels * probabilities).cumsum(0)
    total = mass[-1] if len(mass) else 0.0
    # An upper bound of the exact score is the approximation with its denominator lowered: by one for the bound above,
    # and for Dice by one more, since a voxel's own probability leaves the expected volume.
    if metric == "dice":
        numerator, denominator, slack = 2 * mass, kept + total + 1, 2.0
    else:
        numerator, denominator, slack = mass, kept + total - mass, 1.0
    approximate = numerator / denominator
    if solver == "rma":
        return approximate
    upper_bound = torch.where(denominator > slack, numerator / (denominator - slack).clamp_min(1e-300), torch.inf)
    candidates = upper_bound >= approximate.max() if len(approximate) else approximate.bool()
    return _integrate(probabilities, voxels, kept, denominator, candidates, metric)


def _integrate(
    probabilities: Float64[Tensor, " n"],
    voxels: Float64[Tensor, " n"],
    kept: Float64[Tensor, " n"],
    denominator: Float64[Tensor, " n"],
    candidates: Bool[Tensor, " n"],
    metric: Metric,
) -> Float64[Tensor, " n"]:
    """Exact scores of the candidates, in groups that can share quadrature nodes."""
    scores = torch.full_like(kept, -torch.inf)
    # Denominators grow with the kept volume, so that a group is a run of candidates.
    waiting = candidates.nonzero().squeeze(1)
    integrate = _integrate_dice if metric == "dice" else _integrate_iou
    while len(waiting):
        smallest = denominator[waiting[0]]
        in_group = denominator[waiting] <= _WIDEST_GROUP * smallest
        group, waiting = waiting[in_group], waiting[~in_group]
        scale = smallest if len(group) == 1 else smallest * _WIDEST_GROUP / 1.5
        scores[group] = integrate(probabilities, voxels, kept, group, scale)
    return scores


def _log_survival(
    probabilities: Float64[Tensor, " n"], one_minus_u: Float64[Tensor, " nodes"]
) -> Float64[Tensor, "n nodes"]:
    """log(1 - p (1 - u)) for every probability and node."""
    return torch.log1p(-probabilities[:, None] * one_minus_u)


def _one_minus_u(scale: Tensor) -> Float64[Tensor, " nodes"]:
    # Short of 1 by a rounding unit at least: a voxel of probability 1 would otherwise give log(0) at the far nodes,
    # whose weight is below 1e-40.
    return (-torch.expm1(-_NODES / scale)).clamp_max(1 - torch.finfo(torch.float64).eps)


def _integrate_dice(
    probabilities: Float64[Tensor, " n"],
    voxels: Float64[Tensor, " n"],
    kept: Float64[Tensor, " n"],
    group: Int64[Tensor, " g"],
    scale: Tensor,
) -> Float64[Tensor, " g"]:
    one_minus_u = _one_minus_u(scale)
    log_all = voxels @ _log_survival(probabilities, one_minus_u)
    weighted = voxels * probabilities
    first, last = group[0], group[-1] + 1
    # Only the candidates' own partial sums are needed: sum what lies before them at once.
    survival = 1 - probabilities[:last, None] * one_minus_u
    terms = weighted[:last, None] / survival
    before = terms[:first].sum(0)
    partial = before + terms[first:].cumsum(0)[group - first]
    exponent = _NODES * (1 - (kept[group, None] + 1) / scale) + log_all
    return 2 / scale * (exponent.exp() * partial) @ _WEIGHTS


def _integrate_iou(
    probabilities: Float64[Tensor, " n"],
    voxels: Float64[Tensor, " n"],
    kept: Float64[Tensor, " n"],
    group: Int64[Tensor, " g"],
    scale: Tensor,
) -> Float64[Tensor, " g"]:
    one_minus_u = _one_minus_u(scale)
    first, last = group[0], group[-1] + 1
    beyond = voxels[last:] @ _log_survival(probabilities[last:], one_minus_u)
    logs = voxels[first:last, None] * _log_survival(probabilities[first:last], one_minus_u)
    # Sum over the voxels after each candidate, its own level excluded.
    after = logs.flip(0).cumsum(0).flip(0) - logs
    exponent = _NODES * (1 - kept[group, None] / scale) + beyond + after[group - first]
    mass = (voxels * probabilities).cumsum(0)[group]
    return mass / scale * (exponent.exp() @ _WEIGHTS)
