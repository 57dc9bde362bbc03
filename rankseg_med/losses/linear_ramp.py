"""A weight that changes in the course of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LinearRamp:
    """A weight that goes linearly from one value to another, and stays there.

    Attributes:
        start: Weight in the first iteration.
        end: Weight from iteration ``iterations + 1`` on.
        iterations: How long it changes; at least 1.

    Raises:
        ValueError: The ramp takes no iteration, or one of its ends is negative or no finite number.
    """

    start: float
    end: float
    iterations: int

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}; a constant weight is a number")
        if not all(0 <= end < math.inf for end in (self.start, self.end)):
            raise ValueError(f"start and end must be finite numbers of at least 0, got {self.start} and {self.end}")

    def at(self, iteration: int) -> float:
        """Weight in an iteration, from 1 on."""
        share = min(1.0, (iteration - 1) / self.iterations)
        return self.start + share * (self.end - self.start)
