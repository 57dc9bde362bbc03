"""How a loss is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rankseg_med.errors import InputError

Strategy = Literal["ppo2", "random"]


@dataclass(frozen=True)
class SearchSettings:
    """How a loss is searched; deviation, clip and numbers of steps and samples are by default the paper's.

    Attributes:
        strategy: ``"ppo2"``, or ``"random"``, which draws all samples uniformly, as the baseline of the same budget.
        steps: Number of steps; between two of them the mean is moved.
        samples: Number of losses that are tried in each.
        seed: Random seed of the samples; and of every training alike, so that those differ by their loss alone.
        sigma: Standard deviation of the samples, before they are cut off at 0 and 1.
        clip: Of PPO2: beyond which change of a sample's density there is nothing to gain.
        learning_rate: Of Adam, which moves the mean.
        updates: Number of Adam's steps between two of the search.

    Raises:
        InputError: No such strategy; fewer than one step or two samples, a negative seed, or another number that is not
            positive.
    """

    strategy: Strategy = "ppo2"
    steps: int = 20
    samples: int = 32
    seed: int = 0
    sigma: float = 0.2
    clip: float = 0.2
    learning_rate: float = 0.01
    updates: int = 20

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise InputError(f"strategy must be {' or '.join(get_args(Strategy))}, got {self.strategy!r}")
        if self.samples < 2:
            raise InputError(f"samples must be at least 2, since one is no better than their mean, got {self.samples}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        for name in ("steps", "sigma", "clip", "learning_rate", "updates"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}")
