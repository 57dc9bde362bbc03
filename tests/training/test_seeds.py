import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.transforms import RandGaussianNoise
from torch.utils.data import RandomSampler

from rankseg_med.training.seeds import SeededBatches


def seen_by_a_trainer(*, num_workers=0, seed=0, done=0, epochs=3):
    """Images, and what an iteration draws itself, of every iteration from 1 on."""
    dataset = Dataset([torch.full((2,), float(index)) for index in range(5)], RandGaussianNoise(prob=1.0))
    sampler = RandomSampler(dataset, replacement=True, num_samples=8)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=num_workers)
    batches = SeededBatches(loader, [dataset], seed, skip=done % 4)
    seen = {}
    trainer = Engine(lambda engine, batch: (batch.tolist(), float(torch.rand(1)), np.random.rand(), random.random()))
    batches.attach(trainer)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.update({engine.state.iteration: engine.state.output})
    )
    trainer.load_state_dict({"iteration": done, "epoch_length": len(batches), "max_epochs": epochs})
    trainer.run(batches)
    return seen


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "done", [pytest.param(1, marks=pytest.mark.slow), 3, 4, pytest.param(6, marks=pytest.mark.slow), 11]
)
def test_a_resumed_run_sees_what_it_would_have_seen(num_workers, done):
    whole = seen_by_a_trainer(num_workers=num_workers)
    assert list(whole) == list(range(1, 13))
    rest = seen_by_a_trainer(num_workers=num_workers, done=done)
    assert rest == {iteration: whole[iteration] for iteration in range(done + 1, 13)}


def test_every_iteration_and_seed_differs():
    draws = [draw for seed in (0, 1) for _, draw, _, _ in seen_by_a_trainer(seed=seed).values()]
    assert len(set(draws)) == 24
