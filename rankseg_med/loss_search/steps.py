"""The search itself, step by step: what is tried next, and what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from rankseg_med.loss_search.ppo import improved_mean
from rankseg_med.loss_search.settings import SearchSettings
from rankseg_med.loss_search.truncated_normal import TruncatedNormal


class Trial(BaseModel):
    """What became of a loss that was tried.

    Attributes:
        score: The metric, from 0 to 1; 0, the worst, of a training that diverged.
        reason: Why it diverged; empty if it did not.
        seconds: Wall time.
    """

    model_config = ConfigDict(frozen=True)

    score: float
    reason: str = ""
    seconds: float = 0.0


class Step(BaseModel):
    """Losses that are tried side by side.

    Attributes:
        mean: Of the distribution that they are drawn from.
        samples: Their parameters.
        trials: By the sample's index; not in their order, since they end as they may.
    """

    mean: list[float]
    samples: list[list[float]]
    trials: dict[int, Trial] = {}

    @property
    def todo(self) -> list[int]:
        """Indices of samples that are still to be tried."""
        return [index for index in range(len(self.samples)) if index not in self.trials]

    @property
    def scores(self) -> list[float]:
        """Score of every sample, in their order; all are tried."""
        return [self.trials[index].score for index in range(len(self.samples))]

    @property
    def mean_score(self) -> float:
        """Mean of the scores."""
        return math.fsum(self.scores) / len(self.scores)


def next_step(settings: SearchSettings, start: Sequence[float], before: Sequence[Step]) -> Step:
    """What to try after the steps before.

    It follows from the seed, the number of the step, and what was tried and scored in the last one, to the bit; so a
    search that goes on from its record tries what it would have tried.

    Args:
        settings: How is searched.
        start: The first mean.
        before: All earlier steps, every sample of them tried.
    """
    rng = np.random.default_rng([settings.seed, len(before)])
    if settings.strategy == "random":
        drawn = torch.from_numpy(rng.uniform(size=(settings.samples, len(start))))
        return Step(mean=list(start), samples=drawn.tolist())
    mean = torch.tensor(list(start), dtype=torch.float64)
    if before:
        last = before[-1]
        mean, samples, scores = (
            torch.tensor(numbers, dtype=torch.float64) for numbers in (last.mean, last.samples, last.scores)
        )
        mean = improved_mean(mean, samples, scores, settings)
    drawn = TruncatedNormal(mean, settings.sigma).sample(settings.samples, rng)
    return Step(mean=mean.tolist(), samples=drawn.tolist())


def found(settings: SearchSettings, steps: Sequence[Step]) -> tuple[list[float], float]:
    """The parameters that were found, and their score.

    By PPO2 the mean whose samples have the highest mean score, and that score, as published; of random samples the
    best.

    Args:
        settings: How was searched.
        steps: All steps, every sample tried.
    """
    if settings.strategy == "ppo2":
        best = max(steps, key=lambda step: step.mean_score)
        return best.mean, best.mean_score
    tried = [(sample, score) for step in steps for sample, score in zip(step.samples, step.scores, strict=True)]
    return max(tried, key=lambda one: one[1])
