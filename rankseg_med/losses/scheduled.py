"""Losses that may change with the iteration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from ignite.engine import Engine


class ScheduledLoss(torch.nn.Module, ABC):
    """A loss whose weights may follow a trainer, and that tells of its parts."""

    @abstractmethod
    def attach(self, trainer: Engine) -> None:
        """Schedule weights by the iterations of a trainer."""

    @property
    @abstractmethod
    def scalars(self) -> Mapping[str, float]:
        """Name to number, of the latest batch, worth a curve in TensorBoard."""
