"""Normal distributions cut off at 0 and 1, from which parameters of losses are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from scipy.stats import truncnorm
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TruncatedNormal:
    r"""Independent normal distributions on [0, 1] with one standard deviation.

    With the density $\varphi$ and the distribution function $\Phi$ of the standard normal, each has the density
    $\varphi((x - \mu) / \sigma) / \big(\sigma (\Phi((1 - \mu) / \sigma) - \Phi(-\mu / \sigma))\big)$.

    Attributes:
        mean: $\mu$ of each, before it is cut off; in [0, 1].
        sigma: $\sigma$ of all, positive.
    """

    mean: Float64[Tensor, " parameters"]
    sigma: float

    def sample(self, count: int, rng: np.random.Generator) -> Float64[Tensor, "count parameters"]:
        """Draw so many vectors."""
        mean = self.mean.detach().numpy()
        drawn = truncnorm.rvs(
            *(-mean / self.sigma, (1 - mean) / self.sigma),
            loc=mean,
            scale=self.sigma,
            size=(count, len(mean)),
            random_state=rng,
        )
        return torch.from_numpy(drawn).clamp(0, 1)

    def log_density(self, x: Float64[Tensor, "count parameters"]) -> Float64[Tensor, " count"]:
        """Logarithm of the joint density, differentiable by the mean.

        Args:
            x: In [0, 1].
        """
        z = (x - self.mean) / self.sigma
        inside = torch.special.ndtr((1 - self.mean) / self.sigma) - torch.special.ndtr(-self.mean / self.sigma)
        log_density: Tensor = -(z**2) / 2 - math.log(self.sigma * math.sqrt(2 * math.pi)) - inside.log()
        return log_density.sum(1)
