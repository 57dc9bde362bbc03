"""Spreads items over workers, and sees every one of them to its outcome, whatever happens to the workers."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic

from rankseg_med.executors.crew import AnyWorker, Crew, Worker
from rankseg_med.executors.errors import ItemTimeout, WorkerDied
from rankseg_med.executors.messages import BuildFailed, Entered, Finished, Left, Message, Ready, pack, traceback_of
from rankseg_med.executors.outcome import Item, Outcome
from rankseg_med.executors.task import Task

_LISTEN_S = 1.0  # at most, so that a death that closes no connection is seen too
_DEATHS_IN_VAIN = 5

_log = logging.getLogger(__name__)


class _Seat(Generic[Item]):
    """A worker and what it has in hand."""

    def __init__(self, name: str, worker: Worker) -> None:
        self.name = name
        self.worker = worker
        self.depth = 0  # how many items it takes at a time; none before it is ready
        self.tasks: dict[int, Task[Item]] = {}

    def room(self) -> int:
        """How many items more it may be given. One that was in a worker that died is alone in the next."""
        suspected = any(task.deaths for task in self.tasks.values())
        return 0 if suspected else self.depth - len(self.tasks)


class Dispatch(Generic[Item]):
    """One run over a crew of workers; everything here happens in the thread that asks for the outcomes.

    Args:
        crew: Starts workers.
        items: What to run.
        workers: How many at a time, at most.
        timeout_s: How long an item may be within stages.
        on_stage: Told of every item that enters a stage, with the worker's name.
        memory_budget: In bytes, for the items in all workers together.
        memory_needed: Bytes that an item needs.
    """

    def __init__(
        self,
        crew: Crew[AnyWorker],
        items: Iterable[Item],
        *,
        workers: int,
        timeout_s: float | None,
        on_stage: Callable[[Item, int, str], None] | None,
        memory_budget: float = math.inf,
        memory_needed: Callable[[Item], int] | None = None,
    ) -> None:
        self._crew: Crew[Any] = crew
        self._items = items
        self._workers = workers
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._on_stage = on_stage
        self._memory_budget = memory_budget
        self._memory_needed = memory_needed
        self._clock = _Clock()
        self._seats: list[_Seat[Item]] = []
        self._waiting: deque[Task[Item]] = deque()
        self._outcomes: deque[Outcome[Item, Any]] = deque()
        self._error: Exception | None = None  # the iterable's
        self._deaths_in_vain = 0

    def outcomes(self) -> Iterator[Outcome[Item, Any]]:
        """Give out items and yield outcomes until all are done; then, or when left early, end the workers."""
        drawn = self._draw()
        try:
            while True:
                self._hand_out(drawn)
                self._hire(drawn)
                while self._outcomes:
                    with self._clock.stopped():
                        yield self._outcomes.popleft()
                if self._waiting or any(self._running()):
                    self._listen()
                elif not self._more(drawn, 1) and not self._outcomes:
                    break
        finally:
            for seat in self._seats:
                if seat.tasks or not seat.depth:
                    seat.worker.kill()
                else:
                    seat.worker.end()
            for seat in self._seats:
                seat.worker.join()
        if self._error is not None:
            raise self._error

    def _draw(self) -> Iterator[Task[Item]]:
        """Draw item after item; one that cannot be sent has failed already."""
        items = enumerate(self._items)
        while True:
            try:
                with self._clock.stopped():
                    number, item = next(items)
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001 - raised after the outcomes of the items before
                self._error = error
                return
            try:
                memory_bytes = 0 if self._memory_needed is None else self._memory_needed(item)
                task = Task(number, item, pack("item", item, self._crew.dumps), memory_bytes)
            except Exception as error:  # noqa: BLE001 - one item that cannot be asked or sent must not stop the others
                self._outcomes.append(Outcome(item, None, error, 0.0, (), traceback_of(error)))
                continue
            if memory_bytes > self._memory_budget:
                message = "%s needs %d bytes, more than the memory budget of %d: it runs alone"
                _log.warning(message, item, memory_bytes, self._memory_budget)
            yield task

    def _more(self, drawn: Iterator[Task[Item]], count: int) -> bool:
        """Whether so many items wait; draws what is missing."""
        while len(self._waiting) < count and (task := next(drawn, None)) is not None:
            self._waiting.append(task)
        return len(self._waiting) >= count

    def _hand_out(self, drawn: Iterator[Task[Item]]) -> None:
        """Fill the workers that are ready, the emptiest first."""
        while (seat := max(self._seats, key=_Seat.room, default=None)) is not None and seat.room() > 0:
            if not self._more(drawn, 1):
                return
            task = self._waiting[0]
            lent = [running.memory_bytes for running in self._running()]
            if (task.deaths and seat.tasks) or (lent and sum(lent) + task.memory_bytes > self._memory_budget):
                return
            seat.tasks[task.number] = self._waiting.popleft()
            seat.worker.give(task.number, task.packed)

    def _hire(self, drawn: Iterator[Task[Item]]) -> None:
        """Start workers while more items wait than workers that are not ready yet."""
        while len(self._seats) < self._workers and self._more(drawn, sum(not seat.depth for seat in self._seats) + 1):
            names = (f"{self._crew.title} {place}" for place in range(1, self._workers + 1))
            name = next(name for name in names if name not in {seat.name for seat in self._seats})
            self._seats.append(_Seat(name, self._crew.hire()))

    def _running(self) -> Iterator[Task[Item]]:
        return (task for seat in self._seats for task in seat.tasks.values())

    def _listen(self) -> None:
        """Wait until a worker says something, dies, or has to be stopped."""
        now = self._clock.now()
        longest = max((sum(task.stage_seconds(now)) for task in self._running()), default=0.0)
        patience = max(0.0, self._timeout_s - longest)
        self._crew.listen([seat.worker for seat in self._seats], min(patience, _LISTEN_S))
        for seat in tuple(self._seats):
            self._heed(seat)
            death = seat.worker.death()
            if death is not None:
                self._replace(seat, death)
            elif overdue := self._overdue(seat):
                seat.worker.kill()
                self._heed(seat)  # what it said before it was killed
                for task in overdue:
                    if seat.tasks.pop(task.number, None) is not None:
                        self._fail(
                            task, ItemTimeout(f"was longer than {self._timeout_s:g} s within its stages; stopped")
                        )
                self._replace(seat, None)

    def _heed(self, seat: _Seat[Item]) -> None:
        for message in seat.worker.messages():
            self._take_in(seat, message)

    def _take_in(self, seat: _Seat[Item], message: Message) -> None:
        match message:
            case Ready(depth):
                seat.depth = depth
            case BuildFailed(failure):
                error = failure.unpack()
                error.add_note(f"Raised while {seat.name} built its stages:\n{failure.traceback}")
                raise error
            case Entered(number, stage):
                seat.tasks[number].enter(self._clock.now())
                if self._on_stage is not None:
                    with self._clock.stopped():
                        self._on_stage(seat.tasks[number].item, stage, seat.name)
            case Left(number, seconds):
                seat.tasks[number].leave(seconds)
            case Finished(number):
                self._outcomes.append(message.unpack(seat.tasks.pop(number).item))
                self._deaths_in_vain = 0

    def _overdue(self, seat: _Seat[Item]) -> list[Task[Item]]:
        now = self._clock.now()
        return [task for task in seat.tasks.values() if sum(task.stage_seconds(now)) > self._timeout_s]

    def _replace(self, seat: _Seat[Item], death: str | None) -> None:
        """Part from a worker that died, or was killed for an item that is overdue; what it has in hand is run again.

        Which item a worker died of cannot be known: each is run again alone, and what a second worker dies of has
        failed.
        """
        self._seats.remove(seat)
        seat.worker.join()
        if death is not None and not seat.tasks:
            self._deaths_in_vain += 1
            if self._deaths_in_vain == _DEATHS_IN_VAIN:
                raise WorkerDied(f"{_DEATHS_IN_VAIN} workers in a row died before they took an item; the last: {death}")
        for task in reversed(seat.tasks.values()):
            task.deaths += death is not None
            if task.deaths > 1:
                self._fail(task, WorkerDied(f"its worker died, and so did the next: {death}"))
            else:
                task.start_over()
                self._waiting.appendleft(task)

    def _fail(self, task: Task[Item], error: Exception) -> None:
        self._outcomes.append(task.failed(error, self._clock.now()))


class _Clock:
    """Seconds, less those that the run was not listening: what it hears late has not taken longer for that."""

    def __init__(self) -> None:
        self._lost = 0.0

    def now(self) -> float:
        return time.monotonic() - self._lost

    @contextmanager
    def stopped(self) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self._lost += time.monotonic() - start
