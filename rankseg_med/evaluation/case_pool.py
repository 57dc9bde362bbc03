"""Work on many cases, each in a process of its own if wanted; what goes wrong with one case stays with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from multiprocessing import get_context
from typing import TypeVar

Case = TypeVar("Case")
Result = TypeVar("Result")


def map_cases(
    function: Callable[[Case], Result],
    cases: Sequence[Case],
    workers: int = 1,
    pool: ProcessPoolExecutor | None = None,
) -> Iterator[Result | Exception]:
    """Call a function on every case; results come in the order of the cases.

    Args:
        function: function of one case; for more than one worker it and the cases must be picklable.
        cases: any number.
        workers: number of processes; 1 works in this one, where the end of the process is not survived.
        pool: processes to use, see `open_pool`; None starts ``workers`` of them, if they are more than 1.

    Yields:
        What the function returned for the case or the exception that it raised; where its process ended, such as for
        lack of memory, a `BrokenProcessPool`.

    Raises:
        ValueError: ``workers`` is not positive.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    if workers == 1 and pool is None:
        for case in cases:
            yield _attempt(function, case)
        return
    with open_pool(workers) if pool is None else nullcontext(pool) as running:
        futures: list[Future[Result | Exception]] = []
        for case in cases:
            try:
                futures.append(running.submit(_attempt, function, case))
            except BrokenProcessPool as error:
                futures.append(Future())
                futures[-1].set_exception(error)
        for case, future in zip(cases, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                # One process that ends takes the whole pool down: whose fault it was shows when each is alone.
                yield _alone(function, case)


def _alone(function: Callable[[Case], Result], case: Case) -> Result | Exception:
    with open_pool(1) as pool:
        try:
            return pool.submit(_attempt, function, case).result()
        except BrokenProcessPool:
            return BrokenProcessPool("the process ended while working on this case; was there too little memory?")


def _attempt(function: Callable[[Case], Result], case: Case) -> Result | Exception:
    try:
        return function(case)
    except Exception as error:  # noqa: BLE001 - the caller reports it as this case's failure
        return error


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that several calls of `map_cases` share, since each takes seconds to start; close them with `with`."""
    # Forked processes would inherit the locks of torch's threads.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
