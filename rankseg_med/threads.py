"""How many threads of torch the work of one thread spreads over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def settle_threads(count: int) -> None:
    """Let what the calling thread asks torch for run on so many threads, whatever other threads set from now on.

    Each thread has a number of its own, but only from the moment it is first looked up: until then a thread would take
    over what any other sets meanwhile, such as a stage that loads an image on one thread, and keep that for good.

    Args:
        count: At least 1.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work in this thread alone.

    Threads of one operation wait for each other; beside a network that has the cores, small ones become many times
    slower. And numbers may depend on how many threads there are.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
