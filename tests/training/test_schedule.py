"""Rates of a run that goes on, beside those of one that was never interrupted."""

import math
import warnings

import pytest
import torch
from monai.optimizers import WarmupCosineSchedule
from torch.optim import SGD, AdamW
from torch.optim import lr_scheduler as schedulers

from rankseg_med.training.schedule import go_on

RATE = 0.1

SCHEDULES = {
    "polynomial": lambda optimizer, epochs: schedulers.PolynomialLR(optimizer, total_iters=epochs, power=0.9),
    "cosine": lambda optimizer, epochs: schedulers.CosineAnnealingLR(optimizer, T_max=epochs),
    "steps": lambda optimizer, epochs: schedulers.StepLR(optimizer, step_size=epochs // 3, gamma=0.1),
    "milestones": lambda optimizer, epochs: schedulers.MultiStepLR(optimizer, [epochs // 2, epochs - 1]),
    "exponential": lambda optimizer, epochs: schedulers.ExponentialLR(optimizer, gamma=0.01 ** (1 / epochs)),
    "lambda": lambda optimizer, epochs: schedulers.LambdaLR(optimizer, lambda epoch: 1 - epoch / epochs),
    "one cycle": lambda optimizer, epochs: schedulers.OneCycleLR(optimizer, RATE, total_steps=epochs + 1),
    "warm-up": lambda optimizer, epochs: WarmupCosineSchedule(optimizer, warmup_steps=2, t_total=epochs),
    "sequence": lambda optimizer, epochs: schedulers.SequentialLR(
        optimizer,
        [schedulers.LinearLR(optimizer, total_iters=2), schedulers.CosineAnnealingLR(optimizer, T_max=epochs - 2)],
        milestones=[2],
    ),
    "chain": lambda optimizer, epochs: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(optimizer, 0.5, total_iters=2), schedulers.PolynomialLR(optimizer, total_iters=epochs)]
    ),
}


class Run:
    """Two groups of parameters, one step of the optimizer an epoch."""

    def __init__(self, schedule: str, epochs: int, optimizer: type = AdamW):
        self.weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
        groups = [{"params": [self.weights[0]]}, {"params": [self.weights[1]], "lr": RATE / 2}]
        options = {"momentum": 0.9} if optimizer is SGD else {}
        self.optimizer = optimizer(groups, lr=RATE, **options)
        self.scheduler = SCHEDULES[schedule](self.optimizer, epochs)

    def run(self, epochs: int) -> list[tuple]:
        """What the groups have in each epoch."""
        seen = []
        for _ in range(epochs):
            seen += [
                [(group["lr"], group.get("betas"), group.get("momentum")) for group in self.optimizer.param_groups]
            ]
            for weight in self.weights:
                weight.grad = weight.detach().clone()
            self.optimizer.step()
            self.scheduler.step()
        return seen

    def resumed(self, before: "Run", epochs: int) -> "Run":
        with torch.no_grad():
            for own, other in zip(self.weights, before.weights, strict=True):
                own.copy_(other)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            go_on(self.optimizer, self.scheduler, before.optimizer.state_dict(), epochs)
        return self


@pytest.mark.parametrize("optimizer", [AdamW, SGD])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rates_are_those_of_the_longer_run(schedule, optimizer):
    before = Run(schedule, 6, optimizer)
    before.run(6)
    assert Run(schedule, 15, optimizer).resumed(before, 6).run(9) == Run(schedule, 15, optimizer).run(15)[6:]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_of_the_same_length_comes_to_the_same_weights(schedule):
    whole, before = Run(schedule, 9), Run(schedule, 9)
    whole.run(9)
    before.run(4)
    parts = Run(schedule, 9).resumed(before, 4)
    parts.run(5)
    assert all(map(torch.equal, parts.weights, whole.weights))


def test_closed_forms():
    for schedule, rate in (
        ("polynomial", RATE * (1 - 7 / 15) ** 0.9),
        ("cosine", RATE * (1 + math.cos(math.pi * 7 / 15)) / 2),
        ("steps", RATE * 0.1),
    ):
        before = Run(schedule, 7)
        before.run(7)
        resumed = Run(schedule, 15).resumed(before, 7)
        assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(rate)
        assert resumed.optimizer.param_groups[1]["lr"] == pytest.approx(rate / 2)


def test_a_state_of_other_parameters_is_an_error():
    before = SGD([torch.nn.Parameter(torch.ones(1))], lr=RATE)
    run = Run("polynomial", 5)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        go_on(run.optimizer, run.scheduler, before.state_dict(), 1)
