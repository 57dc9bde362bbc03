"""Probabilities on 65,536 uniform levels."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

LEVELS = 65_536
"""Uniform probability levels on [0, 1]: level ``k`` stands for ``k / 65535``, so that 0 and 1 are exact."""


def level_of(probabilities: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Nearest level of each probability, ties upwards; int32. NaN gives 0: it is looked for elsewhere."""
    # Beyond the integers, as NaN is, conversion gives the lowest of them.
    return (probabilities * (LEVELS - 1)).add_(0.5).to(torch.int32).clamp_(0, LEVELS - 1)


STEPS = 4_096
"""Uniform steps of probability, 16 levels each: fine enough to search by, few enough to search often."""


def by_step(counts: Int[Tensor, "regions levels"]) -> Float64[Tensor, "regions steps"]:
    """Counts by level, added up by step."""
    return counts.view(len(counts), STEPS, -1).sum(2).double()


def step_of(probabilities: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Step of each probability, from 0 to ``STEPS - 1``; int32."""
    return level_of(probabilities).div_(LEVELS // STEPS, rounding_mode="floor")


def lowest_probability_of(level: int, dtype: torch.dtype) -> float:
    """Smallest number of ``dtype`` that rounds to ``level`` or above: ``p >= it`` means ``level_of(p) >= level``.

    Returns:
        The number; minus infinity for level 0 and infinity for ``LEVELS`` (no voxel).
    """
    if level <= 0:
        return -math.inf
    if level >= LEVELS:
        return math.inf
    # As `level_of` computes it, number by number.
    number = np.float32 if dtype == torch.float32 else np.float64
    edge = number((level - 0.5) / (LEVELS - 1))
    # It may round to either side of the true edge.
    while edge * number(LEVELS - 1) + number(0.5) >= level:
        edge = np.nextafter(edge, number(0))
    while edge * number(LEVELS - 1) + number(0.5) < level:
        edge = np.nextafter(edge, number(1))
    return float(edge)
