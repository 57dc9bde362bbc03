"""Randomness that depends on the seed, the epoch and the process alone."""

from __future__ import annotations

from collections.abc import Sequence

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.data.utils import set_rnd
from monai.utils import set_determinism


class EpochSeeds:
    """Sets every generator anew when an epoch starts: an interrupted run, resumed, sees what it would have seen.

    Sampling, augmentation in this process, copy-paste boxes and dropout follow; workers of a `DataLoader` are seeded
    from PyTorch's generator when the epoch's first batch is asked for, so they follow too. Restoring generators from a
    checkpoint would miss those of the random transforms.

    Processes that train together draw different numbers. Since studies are drawn with replacement, that is a split of
    the data: n processes draw as one would whose batches are n times as large.

    Args:
        seed: Of the run.
        datasets: Whose random transforms are seeded.
    """

    def __init__(self, seed: int, datasets: Sequence[Dataset]) -> None:
        self.seed = seed
        self.datasets = datasets

    def attach(self, trainer: Engine) -> None:
        """Seed every epoch of a trainer. Attach before anything that draws numbers when an epoch starts."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, trainer: Engine) -> None:
        """Seed the epoch that the trainer starts."""
        # A seed sequence keeps epoch 1 of seed 2 apart from epoch 2 of seed 1.
        sequence = np.random.SeedSequence([self.seed, trainer.state.epoch, idist.get_rank()])
        words = sequence.generate_state(1 + len(self.datasets))
        set_determinism(int(words[0]))
        for dataset, word in zip(self.datasets, words[1:], strict=True):
            set_rnd(dataset, int(word))
