"""The processes that train one network together, each on its own batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import ignite.distributed as idist
import torch

_Item = TypeVar("_Item")


@contextmanager
def joined_processes(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes that `torchrun` started, and leave them in the end; by itself a process trains alone.

    Processes talk by NCCL where they train on CUDA, by Gloo on CPUs. One that has joined already is left as it is.

    Args:
        device: Where to train.

    Yields:
        The device of this process: on CUDA, that of its local rank.
    """
    if not torch.distributed.is_torchelastic_launched() or torch.distributed.is_initialized():
        yield device
        return
    idist.initialize("nccl" if device.type == "cuda" else "gloo")
    try:
        yield torch.device("cuda", idist.get_local_rank()) if device.type == "cuda" else device
    finally:
        idist.finalize()


def is_first_process() -> bool:
    """Whether this process is the one that writes and reports, also before it has joined the others and after."""
    if torch.distributed.is_torchelastic_launched():
        return int(os.environ["RANK"]) == 0
    return bool(idist.get_rank() == 0)


def number_of_processes() -> int:
    """How many train together, also before this one has joined the others."""
    if torch.distributed.is_torchelastic_launched():
        return int(os.environ["WORLD_SIZE"])
    return int(idist.get_world_size())


def across_processes(network: torch.nn.Module) -> torch.nn.Module:
    """The network with gradients averaged over processes; where there is only one, the network itself."""
    return torch.nn.parallel.DistributedDataParallel(network) if idist.get_world_size() > 1 else network


def share_of(items: Sequence[_Item]) -> Sequence[_Item]:
    """Every n-th item for this one of n processes; all of them where there are too few to go round."""
    processes = idist.get_world_size()
    return items if len(items) < processes else items[idist.get_rank() :: processes]
