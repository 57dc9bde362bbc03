"""PPO2's clipped objective, and the mean that climbs it."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from rankseg_med.loss_search.settings import SearchSettings
from rankseg_med.loss_search.truncated_normal import TruncatedNormal


def clipped_objective(
    log_ratios: Float64[Tensor, " samples"], rewards: Float64[Tensor, " samples"], clip: float
) -> Float64[Tensor, ""]:
    r"""What PPO2 maximises (Schulman et al., 2017).

    It is the mean of $\min(r \xi, \mathrm{clip}(r, 1 - \epsilon, 1 + \epsilon) \xi)$ over the samples.

    Args:
        log_ratios: $\log r$: log density of each sample now, less that when it was drawn.
        rewards: $\xi$: its score, less the mean of the samples that were drawn together.
        clip: $\epsilon$.
    """
    ratios = log_ratios.exp()
    return torch.minimum(ratios * rewards, ratios.clamp(1 - clip, 1 + clip) * rewards).mean()


def improved_mean(
    mean: Float64[Tensor, " parameters"],
    samples: Float64[Tensor, "samples parameters"],
    scores: Float64[Tensor, " samples"],
    settings: SearchSettings,
) -> Float64[Tensor, " parameters"]:
    """The mean to draw the next samples with; it depends on nothing but what is passed.

    Adam climbs the objective from the mean on, which is kept within [0, 1].

    Args:
        mean: With which the samples were drawn.
        samples: Parameters of losses.
        scores: What networks that were trained with them reached.
        settings: Deviation, clip, learning rate and number of updates.
    """
    rewards = scores - scores.mean()
    before = TruncatedNormal(mean, settings.sigma).log_density(samples)
    moving = mean.clone().requires_grad_()
    optimizer = torch.optim.Adam([moving], settings.learning_rate, maximize=True)
    for _ in range(settings.updates):
        ratios = TruncatedNormal(moving, settings.sigma).log_density(samples) - before
        (moving.grad,) = torch.autograd.grad(clipped_objective(ratios, rewards, settings.clip), moving)
        optimizer.step()
        with torch.no_grad():
            moving.clamp_(0, 1)
    return moving.detach()
