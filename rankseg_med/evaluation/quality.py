"""How well a score that was expected without a reference agrees with the true one, over cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import stats


@dataclass(frozen=True)
class Quality:
    """Agreement of expected and true scores of the same cases.

    Attributes:
        cases: How many.
        bias: Mean of expected less true; above 0 promises too much.
        mean_absolute_error: Mean absolute error of a case's expected score.
        spearman: Rank correlation; NaN where either side is constant, or below two cases.
        aurc: Area under the risk-coverage curve, see `aurc`.
    """

    cases: int
    bias: float
    mean_absolute_error: float
    spearman: float
    aurc: float


def quality_of(expected: Float64[np.ndarray, " cases"], true: Float64[np.ndarray, " cases"]) -> Quality:
    """Compare expected scores with true ones.

    Args:
        expected: Expected score of each case, without its reference.
        true: True score of the same cases.

    Raises:
        ValueError: There is no case, or a score is not finite.
    """
    _check(expected, true)
    is_constant = np.ptp(expected) == 0 or np.ptp(true) == 0
    return Quality(
        len(true),
        float((expected - true).mean()),
        float(np.abs(expected - true).mean()),
        math.nan if is_constant else float(stats.spearmanr(expected, true).statistic),
        aurc(expected, true),
    )


def risk_coverage(
    confidence: Float64[np.ndarray, " cases"], score: Float64[np.ndarray, " cases"]
) -> Float64[np.ndarray, " cases"]:
    """Mean risk of the k most confident cases, for k from 1 to all: the risk-coverage curve.

    The risk of a case is 1 less its score. Cases of equal confidence come in any order: theirs is the mean over all.

    Args:
        confidence: Confidence of each case; only its order counts.
        score: True score, 1 the best.

    Raises:
        ValueError: There is no case, or a number is not finite.
    """
    _check(confidence, score)
    _, group = np.unique(-confidence, return_inverse=True)
    sizes = np.bincount(group)
    risk = np.repeat(np.bincount(group, 1 - score) / sizes, sizes)
    curve: np.ndarray = risk.cumsum() / np.arange(1, len(risk) + 1)
    return curve


def aurc(confidence: Float64[np.ndarray, " cases"], score: Float64[np.ndarray, " cases"]) -> float:
    """Area under the risk-coverage curve: its mean over all coverages (Geifman et al., ICLR 2019); 0 is the best.

    A confidence that knows nothing has the mean risk; arguments and errors as of `risk_coverage`.
    """
    return float(risk_coverage(confidence, score).mean())


def soft_dice(probabilities: Float[np.ndarray, "*spatial"], mask: Bool[np.ndarray, "*spatial"]) -> float:
    r"""Soft Dice between probabilities $p$ and the mask $y$ made of them, as a confidence (arXiv 2402.10665).

    $2 \sum p y / (\sum p + \sum y)$; 1 where both are empty.
    """
    return soft_dice_of_sums(
        float(probabilities[mask].sum(dtype=np.float64)),
        float(probabilities.sum(dtype=np.float64)),
        int(np.count_nonzero(mask)),
    )


def soft_dice_of_sums(shared: float, mass: float, volume: float) -> float:
    """The same of sums: of probabilities within the mask, of all probabilities, and of the mask."""
    return 2 * shared / (mass + volume) if mass + volume else 1.0


def _check(first: Float64[np.ndarray, " cases"], second: Float64[np.ndarray, " cases"]) -> None:
    if not len(first) or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(f"scores of at least one case are needed, all finite; got {len(first)}")
