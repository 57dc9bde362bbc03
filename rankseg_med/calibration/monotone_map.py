"""Isotonic regression of binned voxels, as a few knots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.optimize import isotonic_regression
from torch import Tensor


@dataclass(frozen=True)
class MonotoneMap:
    """A function of [0, 1] that never falls, linear between knots.

    Attributes:
        probability: Probabilities of the knots, ascending from 0 to 1.
        calibrated: What becomes of each, in [0, 1], never falling.
    """

    probability: tuple[float, ...]
    calibrated: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = np.array(self.probability), np.array(self.calibrated)
        if len(x) != len(y) or len(x) < 2:
            raise ValueError(
                "a map needs at least two knots, and a calibrated value for each probability; found "
                f"{len(x)} probabilities and {len(y)} calibrated values"
            )
        if x[0] != 0 or x[-1] != 1 or not (np.diff(x) > 0).all():
            raise ValueError(f"probabilities of knots must ascend from 0 to 1, got {_shown(self.probability)}")
        if not (y >= 0).all() or not (y <= 1).all():
            raise ValueError(f"calibrated values must lie in [0, 1], got {_shown(self.calibrated)}")
        if not (np.diff(y) >= 0).all():
            raise ValueError(f"calibrated values must never fall, got {_shown(self.calibrated)}")

    @classmethod
    def fit(
        cls, voxels: Float64[Tensor, " bins"], positive: Float64[Tensor, " bins"], mass: Float64[Tensor, " bins"]
    ) -> MonotoneMap:
        r"""The never falling function with the smallest squared error.

        $$\hat f = \arg\min_{f\ \text{never falls}} \sum_b n_b \left(\frac{k_b}{n_b} - f(\bar p_b)\right)^2$$

        of $n_b$ voxels in bin $b$ with the mean probability $\bar p_b$, of which $k_b$ are positive. Neighbouring bins
        that would fall are pooled (Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass
        probability estimates", KDD 2002): a pool is flat from its first bin to its last, with the share of positive
        voxels in all of it, so that calibrated probabilities of the voxels that were fitted to add up to the number of
        positive ones.

        - Between two pools it is linear, so only the ends of pools are knots.
        - 0 becomes what the data say of voxels in the first bin, below $2^{-30}$. That is never more than the share of
          positive voxels among all. If there were none in it, nothing is known there and 0 stays 0.
        - Beyond the last bin with voxels the value stays.

        Args:
            voxels: Voxels of each bin, ascending; may be weighted. At least one bin has some.
            positive: How many of them are positive.
            mass: The sum of their probabilities.
        """
        some = voxels > 0
        count = voxels[some].numpy()
        x = (mass[some].numpy() / count).clip(0, 1)
        if some[0]:
            x[0] = 0
        found = isotonic_regression((positive[some].numpy() / count).clip(0, 1), weights=count)
        first, last = found.blocks[:-1], found.blocks[1:] - 1
        ends = np.unique(np.concatenate([first, last]))
        x, y = x[ends].astype(np.float32), found.x[ends].clip(0, 1).astype(np.float32)
        if x[0] > 0:
            x, y = np.append(np.float32(0), x), np.append(np.float32(0), y)
        if x[-1] < 1:
            x, y = np.append(x, np.float32(1)), np.append(y, y[-1])
        # Within a flat piece.
        needless = np.zeros(len(x), dtype=bool)
        needless[1:-1] = (y[:-2] == y[1:-1]) & (y[1:-1] == y[2:])
        return cls(tuple(x[~needless].tolist()), tuple(y[~needless].tolist()))

    def knots(self) -> Float[Tensor, "2 knots"]:
        """Probabilities and calibrated values, float32."""
        return torch.tensor([self.probability, self.calibrated], dtype=torch.float32)


IDENTITY = MonotoneMap((0.0, 1.0), (0.0, 1.0))


def apply_map(values: Float[Tensor, " voxels"], knots: Float[Tensor, "2 knots"]) -> Float[Tensor, " voxels"]:
    """Values of a map at probabilities, exactly never falling; what is outside of [0, 1] counts as 0 or 1.

    Args:
        values: float32; NaN stays NaN.
        knots: Knots on the same device. The last may be repeated.
    """
    x, y = knots
    width, rise = x.diff(prepend=x[:1]), y.diff(prepend=y[:1])
    per_width = torch.where(width > 0, 1 / width, 0.0)
    pieces = torch.stack([x.roll(1), per_width, rise, y.roll(1), y])
    values = values.clamp(0, 1)
    # Of the piece that a value is in, the right end; NaN is taken for beyond the last.
    right = torch.searchsorted(x, values, right=True).clamp_(max=len(x) - 1)
    start, per_width, rise, low, high = (torch.index_select(row, 0, right) for row in pieces)
    # Rounding may go past the end of a piece, and then the next one would begin lower.
    return torch.minimum(values.sub_(start).mul_(per_width).mul_(rise).add_(low), high)


def _shown(values: tuple[float, ...]) -> str:
    shown = ", ".join(f"{value:.6g}" for value in values[:6])
    return shown + (", ..." if len(values) > 6 else "")
