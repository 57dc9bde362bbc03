"""Probability bins that are narrow where probabilities are close to 0 or to 1."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int32
from torch import Tensor

# Of single precision: the exponent's bias, and the bits behind it, of which so many tell bins of an octave apart.
_BIAS, _MANTISSA = 127, 23
_BITS = 5
# Octaves of p below one half, and of 1 - p above, where single precision has multiples of 2**-24 alone.
_SMALLEST, _SMALLEST_REST = -30, -25
_HALF = (-1 - _SMALLEST << _BITS) + 1

BINS = _HALF + (-1 - _SMALLEST_REST << _BITS) + 2
"""How many there are, 1,699. The first holds what is below $2^{-30}$, the last 1 alone."""


def bin_of(probabilities: Float[Tensor, "*shape"]) -> Int32[Tensor, "*shape"]:
    r"""The bin of each probability, ascending.

    Each octave $[2^{-k}, 2^{1-k})$ of $p \le 1/2$, and of $1 - p$ beyond, has 32 bins of equal width, so that a bin is
    at most 3 % wide of what is in it: there are as many between $10^{-6}$ and $10^{-5}$ as between 0.01 and 0.1. The
    lower edge of a bin is in it. Every multiple of 1/64 is one.

    Args:
        probabilities: float32 in [0, 1]; what lies outside counts as 0 or 1.
    """
    p = probabilities.clamp(0, 1)
    below = _octaves(p, _SMALLEST)
    # Of two neighbouring bins the edge is in the one with the smaller rest.
    above = BINS - 1 - _octaves(torch.nextafter(1 - p, torch.zeros_like(p)), _SMALLEST_REST)
    return torch.where(p <= 0.5, below, above)


def _octaves(values: Float[Tensor, "*shape"], smallest: int) -> Int32[Tensor, "*shape"]:
    """0 below ``2**smallest``, then the values' exponents and the first bits behind them, counted from 1."""
    leading = values.view(torch.int32) >> (_MANTISSA - _BITS)
    return (leading - ((_BIAS + smallest) << _BITS) + 1).clamp_(min=0)
