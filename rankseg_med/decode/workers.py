"""The threads of one decode, each of which works on pieces of the volume by itself.

Torch spreads an operation over all its threads and waits for the last of them. A decode is many short operations, so
that beside one busy process it would wait at every step. Split coarsely it waits once, at the end.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_lead = threading.local()
_settling = threading.Lock()


def on_workers(work: Callable[[], Result], device: torch.device, pieces: int) -> Result:
    """Do some work on threads of its own, in each of which torch has one thread; `in_order` spreads it over them.

    There are as many as the caller's torch has threads and the process has cores, and one that leads and mostly waits
    for the others. With one thread of torch, or on another device than the CPU, the work is done as it stands. The
    threads end with the work, however it ends.

    Args:
        work: Computes without gradients.
        device: Device of the volume.
        pieces: How many the work has; with one there is nothing to spread, and the thread that leads is the only one.
    """
    with _settling:
        threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return work()
    workers = min(threads, _cores(), pieces) if pieces > 1 else 0
    all_are_there = threading.Barrier(workers + 1)
    with ThreadPoolExecutor(workers + 1, "rankseg-med-decode", _settle_on_one_thread) as pool:

        def lead() -> Result:
            all_are_there.wait()
            if workers:
                _lead.pool, _lead.workers = pool, workers
            return work()

        try:
            for _ in range(workers):
                pool.submit(all_are_there.wait)
            return pool.submit(lead).result()
        except BaseException:
            all_are_there.abort()
            pool.shutdown(cancel_futures=True)
            raise


def in_order(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
    """Results of pieces in their order, worked on side by side inside `on_workers` and one by one elsewhere.

    Few wait to be taken, so that results are not all in memory. What is raised first, by the pieces' order, is raised
    here.
    """
    pool: ThreadPoolExecutor | None = getattr(_lead, "pool", None)
    if pool is None or len(pieces) == 1:
        yield from map(work, pieces)
        return
    begun: deque[Future[Result]] = deque()
    for piece in pieces:
        begun.append(pool.submit(work, piece))
        if len(begun) > _lead.workers + 1:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settle_on_one_thread() -> None:
    """Let torch have one thread in this one, a fresh one, and in others what it has.

    To set the number for one thread is to set it for all that start later, too.
    """
    torch.set_grad_enabled(False)
    with _settling:
        of_others = torch.get_num_threads()
        torch.set_num_threads(1)
        other = threading.Thread(target=torch.set_num_threads, args=(of_others,))
        other.start()
        other.join()


def _forget_the_lock() -> None:
    """A forked process starts with no thread that could release it."""
    global _settling
    _settling = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_lock)
