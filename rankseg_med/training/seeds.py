"""Randomness that depends on the seed, the epoch, the batch and the process alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events
from monai.data import Dataset
from monai.data.utils import set_rnd
from monai.utils import set_determinism

from rankseg_med.semisupervised import Stream


class SeededBatches:
    """Batches of a loader, with every generator set anew before each: a resumed run sees what it would have seen.

    Copy-paste boxes, noise and dropout follow, as does augmentation in this process; sampling, and the workers of a
    `DataLoader`, follow the epoch's first batch. Restoring generators from a checkpoint would miss those of the random
    transforms and of the other processes.

    Processes that train together draw different numbers. Since studies are drawn with replacement, that is a split of
    the data: n processes draw as one would whose batches are n times as large.

    Args:
        loader: Loader of one epoch's batches.
        datasets: Whose random transforms are seeded.
        seed: Random seed of the run.
        skip: How many batches of the first epoch are drawn and left out, since they were trained on before.
    """

    def __init__(self, loader: Stream, datasets: Sequence[Dataset], seed: int, *, skip: int = 0) -> None:
        self.loader = loader
        self.datasets = datasets
        self.seed = seed
        self.skip = skip
        self._epoch = 0

    def attach(self, trainer: Engine) -> None:
        """Follow the epochs of the trainer that takes the batches."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._start)

    def _start(self, trainer: Engine) -> None:
        self._epoch = trainer.state.epoch

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self._seed(0)
        for index, dataset in enumerate(self.datasets, start=1):
            set_rnd(dataset, self._number(0, index))
        batches = iter(self.loader)
        skip, self.skip = self.skip, 0
        for batch_number in range(len(self)):
            self._seed(batch_number)
            batch = next(batches)
            if batch_number >= skip:
                yield batch

    def _seed(self, batch_number: int) -> None:
        set_determinism(self._number(batch_number, 0))

    def _number(self, batch_number: int, purpose: int) -> int:
        # A seed sequence keeps epoch 1 of seed 2 apart from epoch 2 of seed 1.
        entropy = [self.seed, self._epoch, batch_number, idist.get_rank(), purpose]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])
