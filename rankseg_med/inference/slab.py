"""What streaming hands on."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Slab:
    """Finished values of some slices of a volume.

    Attributes:
        start: First slice along the streaming axis.
        stop: One beyond the last.
        probabilities: ``(classes, *spatial)``, ``stop - start`` slices along that axis.
    """

    start: int
    stop: int
    probabilities: Float[Tensor, "classes *spatial"]
