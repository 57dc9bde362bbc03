"""Work on many items, each in a process of its own if wanted; what goes wrong with one stays with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int = 1,
    pool: ProcessPoolExecutor | None = None,
) -> Iterator[Result | Exception]:
    """Call a function on every item; results come in their order.

    Args:
        function: function of one item; for more than one worker it and the items must be picklable.
        items: any number.
        workers: number of processes; 1 works in this one, where the end of the process is not survived.
        pool: processes to use, see `open_pool`; None starts ``workers`` of them, if they are more than 1.

    Yields:
        What the function returned for the item or the exception that it raised; where its process ended, such as for
        lack of memory, a `BrokenProcessPool`.

    Raises:
        ValueError: ``workers`` is not positive.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if workers == 1 and pool is None:
        for item in items:
            yield _attempt(function, item)
        return
    with open_pool(workers) if pool is None else nullcontext(pool) as running:
        futures: list[Future[Result | Exception]] = []
        for item in items:
            try:
                futures.append(running.submit(_attempt, function, item))
            except BrokenProcessPool as error:
                futures.append(Future())
                futures[-1].set_exception(error)
        for item, future in zip(items, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                # One process that ends takes the whole pool down: whose fault it was shows when each is alone.
                yield _alone(function, item)


def _alone(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    with open_pool(1) as pool:
        try:
            return pool.submit(_attempt, function, item).result()
        except BrokenProcessPool:
            return BrokenProcessPool("the process ended while working on this case; was there too little memory?")


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - the caller reports it as this case's failure
        return error


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that several calls of `map_items` share, since each takes seconds to start; close them with `with`."""
    # Forked processes would inherit the locks of torch's threads.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
