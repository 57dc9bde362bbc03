"""A job in stages: while one item is in a stage, the next is in the stage before."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Thread
from typing import Any, Generic, TypeVar, overload

import torch

from rankseg_med.executors.handover import Halted, Handover
from rankseg_med.executors.memory_budget import MemoryBudget
from rankseg_med.executors.outcome import Item, Outcome, Result
from rankseg_med.executors.work import Work
from rankseg_med.threads import settle_threads

_First = TypeVar("_First")
_Second = TypeVar("_Second")

_log = logging.getLogger(__name__)


@overload
def run_overlapped(
    stages: tuple[Callable[[Item], Result]],
    items: Iterable[Item],
    *,
    memory_budget: int | None = None,
    memory_needed: Callable[[Item], int] | None = None,
    on_stage: Callable[[Item, int, str], None] | None = None,
) -> Iterator[Outcome[Item, Result]]: ...
@overload
def run_overlapped(
    stages: tuple[Callable[[Item], _First], Callable[[_First], Result]],
    items: Iterable[Item],
    *,
    memory_budget: int | None = None,
    memory_needed: Callable[[Item], int] | None = None,
    on_stage: Callable[[Item, int, str], None] | None = None,
) -> Iterator[Outcome[Item, Result]]: ...
@overload
def run_overlapped(
    stages: tuple[Callable[[Item], _First], Callable[[_First], _Second], Callable[[_Second], Result]],
    items: Iterable[Item],
    *,
    memory_budget: int | None = None,
    memory_needed: Callable[[Item], int] | None = None,
    on_stage: Callable[[Item, int, str], None] | None = None,
) -> Iterator[Outcome[Item, Result]]: ...
@overload
def run_overlapped(
    stages: Sequence[Callable[[Any], Any]],
    items: Iterable[Item],
    *,
    memory_budget: int | None = None,
    memory_needed: Callable[[Item], int] | None = None,
    on_stage: Callable[[Item, int, str], None] | None = None,
) -> Iterator[Outcome[Item, Any]]: ...
def run_overlapped(
    stages: Sequence[Callable[[Any], Any]],
    items: Iterable[Item],
    *,
    memory_budget: int | None = None,
    memory_needed: Callable[[Item], int] | None = None,
    on_stage: Callable[[Item, int, str], None] | None = None,
) -> Iterator[Outcome[Item, Any]]:
    """Run items through consecutive stages, each stage busy with another item; one that raises does not stop the rest.

    The last stage runs in the calling thread, whenever the next outcome is asked for; every other stage has a thread of
    its own, and the first one's also draws the items. No stage runs twice at a time, but different stages do: what they
    share has to bear that. Much that looks global in torch belongs to a thread (``no_grad``, ``inference_mode``,
    ``autocast``, the current CUDA device): what the caller entered holds in the last stage only, and each stage that
    needs it enters it itself. Every stage has as many threads of torch as the caller; what one sets is its own.

    At most one item waits between two stages, so no more than ``2 * len(stages) - 1`` are held at once, the consumer's
    aside. What a stage returned is the next one's alone: a function or method that deletes its argument frees it.

    ``KeyboardInterrupt``, ``SystemExit`` and the like, in a stage or while the consumer waits, end the run, and so does
    closing the iterator, as leaving a ``for`` loop over it does: nothing new is started, every thread finishes the
    stage it is in and ends, and only then are they raised. Tracebacks of failed items go to the log at debug level.

    Args:
        stages: What is done with an item: the first takes the item, each next one what the one before returned.
        items: What to run. An item is not drawn before the one before it has left the first stage.
        memory_budget: In bytes: an item is held back while those under way and it would need more than this. One that
            needs more by itself runs alone, with a warning in the log. Default: no limit.
        memory_needed: Bytes that an item needs at its worst moment; an item for which it raises has failed. Not asked
            without a budget.
        on_stage: Called as an item enters a stage, in that stage's thread, with the item, the stage's index and
            ``"this process"``, the worker's name. What it raises ends the run.

    Returns:
        An outcome per item, in the order of the items, as each finishes. What the iterable of items itself raises is
        raised after the outcomes of the items before.

    Raises:
        ValueError: No stages, or a budget without ``memory_needed``.
    """
    if not stages:
        raise ValueError("run_overlapped needs at least one stage, got none")
    if memory_budget is None:
        return _Line(stages, items, math.inf, lambda item: 0, on_stage).outcomes()
    if memory_needed is None:
        raise ValueError(
            f"a memory budget needs to know what an item needs, got memory_budget={memory_budget} alone; "
            "give memory_needed as well"
        )
    return _Line(stages, items, memory_budget, memory_needed, on_stage).outcomes()


class _Line(Generic[Item]):
    """One run: items enter one by one, go from stage to stage, and leave as outcomes."""

    def __init__(
        self,
        stages: Sequence[Callable[[Any], Any]],
        items: Iterable[Item],
        memory_budget: float,
        memory_needed: Callable[[Item], int],
        on_stage: Callable[[Item, int, str], None] | None,
    ) -> None:
        self._stages = stages
        self._items = items
        self._memory_needed = memory_needed
        self._on_stage = on_stage
        self._memory = MemoryBudget(memory_budget)
        self._error: BaseException | None = None
        self._torch_threads = torch.get_num_threads()
        self._handovers = [Handover[Work[Item]]() for _ in stages[:-1]]

    def outcomes(self) -> Iterator[Outcome[Item, Any]]:
        """Start the threads, run the last stage, and see the threads end."""
        *early_stages, last_stage = self._stages
        works, threads = self._enter(), list[Thread]()
        try:
            for stage, handover in zip(early_stages, self._handovers, strict=True):
                # A daemon, so that a second Ctrl-C, while the first waits for the stage to finish, leaves at once.
                thread = Thread(target=self._run_early_stage, args=(stage, works, handover), daemon=True)
                thread.start()
                threads.append(thread)
                works = iter(handover)
            for work in works:
                work.advance(last_stage)
                self._memory.give_back(work.memory_bytes)
                yield work.outcome()
        finally:
            self._halt()
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def _run_early_stage(
        self, stage: Callable[[Any], Any], works: Iterator[Work[Item]], handover: Handover[Work[Item]]
    ) -> None:
        """What the stage's thread does."""
        settle_threads(self._torch_threads)
        try:
            for work in works:
                work.advance(stage)
                handover.put(work)
        except Halted:
            pass
        except Exception as error:  # noqa: BLE001 - the iterable's or on_stage's; the items before it go on
            self._error = self._error or error
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            self._error = error
            self._halt()
        finally:
            handover.end()

    def _enter(self) -> Iterator[Work[Item]]:
        """Draw item after item, each held back until the memory suffices."""
        for item in self._items:
            work = Work(item, self._memory_needed, self._on_stage)
            if work.memory_bytes > self._memory.total:
                message = "%s needs %d bytes, more than the memory budget of %d: it runs alone"
                _log.warning(message, item, work.memory_bytes, self._memory.total)
            self._memory.borrow(work.memory_bytes)
            yield work

    def _halt(self) -> None:
        """Let every thread end after the stage it is in."""
        self._memory.halt()
        for handover in self._handovers:
            handover.halt()
