import math

import pytest
import torch

from rankseg_med.loss_search.ppo import clipped_objective, improved_mean
from rankseg_med.loss_search.settings import SearchSettings


def test_the_clipped_objective_by_hand():
    ratios, rewards = [1.5, 1.5, 0.5, 0.5, 1.1], [2.0, -2.0, 2.0, -2.0, 1.0]
    # What is good counts up to 1.2 times, what is bad down to 0.8 times; the other way there is no limit.
    terms = [1.2 * 2, -1.5 * 2, 0.5 * 2, -0.8 * 2, 1.1]
    log_ratios = torch.tensor([math.log(ratio) for ratio in ratios], dtype=torch.float64, requires_grad=True)
    objective = clipped_objective(log_ratios, torch.tensor(rewards, dtype=torch.float64), 0.2)
    assert objective.item() == pytest.approx(sum(terms) / 5)
    objective.backward()  # d r / d log r = r, where it is not clipped
    assert log_ratios.grad.tolist() == pytest.approx([0, -1.5 * 2 / 5, 0.5 * 2 / 5, 0, 1.1 / 5])


def mean_after(scores, **changes):
    samples = torch.tensor([[0.3, 0.5], [0.7, 0.5]], dtype=torch.float64)
    settings = SearchSettings(**changes)
    return improved_mean(torch.tensor([0.5, 0.5]).double(), samples, torch.tensor(scores).double(), settings).tolist()


def test_the_mean_moves_towards_what_scored_more():
    for scores, sign in (([0.2, 0.6], 1), ([0.6, 0.2], -1)):
        moved = mean_after(scores, updates=1, learning_rate=0.03)
        # Adam's first step is its learning rate, whatever the gradient.
        assert moved == pytest.approx([0.5 + sign * 0.03, 0.5], abs=1e-6)
    assert mean_after([0.4, 0.4]) == [0.5, 0.5]


def test_the_mean_stays_within_bounds():
    assert mean_after([0.0, 1.0], updates=2, learning_rate=0.4)[0] == 1
