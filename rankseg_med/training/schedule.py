"""The learning rate of a run that goes on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

# What PyTorch's schedulers write to the groups of parameters.
_SCHEDULED = ("lr", "initial_lr", "min_lr", "max_lr", "momentum", "betas", "base_momentum", "max_momentum")


def go_on(optimizer: Optimizer, scheduler: LRScheduler, saved: Mapping[str, Any], epochs: int) -> None:
    """Restore an optimizer, with the learning rate that the schedule has by now.

    The schedule is that of the config, which may be longer than the one under which the optimizer was saved: a restored
    scheduler would know the old length alone. It takes as many steps as it would have taken, so every scheduler can be
    resumed that needs to know no more than the epoch, and one that has not changed comes to the same rates to the bit.

    Args:
        optimizer: As the config makes it.
        scheduler: Scheduler of the optimizer, as the config makes it.
        saved: State of the optimizer.
        epochs: How many are done.

    Raises:
        ValueError: The state is of another optimizer.
    """
    with warnings.catch_warnings():
        # That the optimizer should go first; it did, before it was saved.
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for _ in range(epochs):
            scheduler.step()
    scheduled = [{key: group[key] for key in _SCHEDULED if key in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(saved))
    for group, values in zip(optimizer.param_groups, scheduled, strict=True):
        group.update(values)
