"""Items in processes of this machine: what crashes or hangs takes no other item with it."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import torch

from rankseg_med.executors.crew import Crew, Worker
from rankseg_med.executors.dispatch import Dispatch
from rankseg_med.executors.executor import ItemT, OnStage, StagedWork
from rankseg_med.executors.messages import Message, pack
from rankseg_med.executors.outcome import Item, Outcome
from rankseg_med.executors.serving import serve
from rankseg_med.threads import settle_threads

_PATIENCE_S = 5.0  # for a worker that was told to end
_LOOK_FOR_PARENT_S = 1.0


def run_in_processes(
    build: Callable[[], Sequence[Callable[[Any], Any]]],
    items: Iterable[Item],
    *,
    workers: int = 1,
    timeout_s: float | None = None,
    memory_budget: int | None = None,
    memory_needed: Callable[[Item], int] | None = None,
    on_stage: Callable[[Item, int, str], None] | None = None,
) -> Iterator[Outcome[Item, Any]]:
    """Run items through stages, as ``run_overlapped`` does, in processes that may crash, hang or run out of memory.

    A worker that dies loses no item. Which one it died of cannot be known, so each that it had in hand is run again,
    alone in a fresh worker; an item during which that one dies as well has failed with ``WorkerDied``. So stages may
    see an item again that they have seen before, and have to bear it.

    Workers are spawned: a script that calls this guards its main part with ``if __name__ == "__main__":``. They ignore
    Ctrl-C, which is the caller's to decide about, and end when the caller's process does, even if it is killed. They
    cannot start processes through ``multiprocessing``. The threads of torch that this process has are shared out among
    them, at least one each.

    Items are drawn when a worker has room for them, at most as many as there are stages for each: to stop a run and
    let what is in hand finish, end the iterable. Closing the iterator kills what is in hand. While the caller does not
    ask for the next outcome, workers go on with what they have in hand, but get nothing new, and no time counts.

    Args:
        build: Returns the stages; picklable, called once in each worker. How long it may take is not limited.
        items: What to run; picklable. The outcome holds the caller's own object.
        workers: How many processes at a time, at most.
        timeout_s: How long an item may be within its stages, waits in between not counted: one that takes longer has
            failed with ``ItemTimeout``; its worker is killed, and what else was in it is run again. Default: no limit.
        memory_budget: In bytes: an item is held back while those in all workers and it would need more than this. One
            that needs more by itself runs alone, with a warning in the log. Default: no limit.
        memory_needed: Bytes that an item needs at its worst moment, asked in this process; an item for which it raises
            has failed.
        on_stage: Called in the calling thread as an item enters a stage, with the item, the stage's index and the
            worker's name, such as ``"process 1"``; again, from the first stage on, for an item that is run again. What
            it raises ends the run.

    Returns:
        An outcome per item, as each finishes, in no order; nothing starts before the first is asked for. What the
        iterable of items itself raises is raised after the outcomes of the items before, what ``build`` raises at once.

    Raises:
        ValueError: No workers, a timeout that is not positive, or a budget without ``memory_needed``.
        TransferError: ``build`` cannot be pickled.
        WorkerDied: While iterating: workers die, one after another, before they take an item.
    """
    if workers < 1:
        raise ValueError(f"at least one worker is needed, got workers={workers}")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s has to be positive, or None for no limit, got {timeout_s}")
    if memory_budget is not None and memory_needed is None:
        raise ValueError(
            f"a memory budget needs to know what an item needs, got memory_budget={memory_budget} alone; "
            "give memory_needed as well"
        )
    return Dispatch(
        _Processes(pack("function that builds the stages", build, pickle.dumps), workers),
        items,
        workers=workers,
        timeout_s=timeout_s,
        on_stage=on_stage,
        memory_budget=math.inf if memory_budget is None else memory_budget,
        memory_needed=None if memory_budget is None else memory_needed,
    ).outcomes()


@dataclass(frozen=True)
class InProcesses:
    """In processes of their own, which may end: for lack of memory, or because an item takes too long.

    Attributes:
        workers: Number of processes, each with all that is built; they share torch's threads out.
        timeout_s: Seconds that an item may spend in stages.
        memory_budget: In bytes, of all processes; see `InProcess`.
    """

    workers: int = 1
    timeout_s: float | None = None
    memory_budget: int | None = None

    def __call__(
        self, work: StagedWork[ItemT], items: Iterable[ItemT], on_stage: OnStage | None
    ) -> Iterator[Outcome[ItemT, Any]]:
        """An outcome per item, as each finishes; see `run_in_processes`."""
        return run_in_processes(
            work.build,
            items,
            workers=self.workers,
            timeout_s=self.timeout_s,
            memory_budget=self.memory_budget,
            memory_needed=work.memory_needed,
            on_stage=on_stage,
        )


class _Process(Worker):
    """A child of this process, at the other end of a pipe."""

    def __init__(self, build: bytes, torch_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # A daemon, so that a run that is never closed does not keep this process from ending.
        self._process = context.Process(target=_work, args=(theirs, build, os.getpid(), torch_threads), daemon=True)
        with theirs, _sigint_held_back():
            self._process.start()
        self._said_all = False

    def give(self, number: int, packed: bytes) -> None:
        self._send((number, packed))

    def messages(self) -> list[Message]:
        messages: list[Message] = []
        dead = self._process.exitcode is not None  # first: what it said before is then in the pipe
        try:
            while self.pipe.poll():
                messages.append(pickle.loads(self.pipe.recv_bytes()))  # noqa: S301 - our own child's
        except (EOFError, OSError):
            dead = True
        self._said_all = dead
        return messages

    def death(self) -> str | None:
        if not self._said_all:
            return None
        self._stop(_PATIENCE_S)
        code, name = self._process.exitcode, f"process {self._process.pid}"
        if code is None or code >= 0:
            return f"{name} ended by itself with exit code {code}; it may have said why on stderr"
        if code == -signal.SIGKILL:
            why = "most often the system does that for want of memory: run fewer workers, or give them more"
        else:
            why = "a crash in native code, or someone's doing"
        return f"{name} was killed by {signal.Signals(-code).name}; {why}"

    def end(self) -> None:
        self._send(None)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def join(self) -> None:
        self._stop(_PATIENCE_S)
        self.pipe.close()

    def _send(self, message: tuple[int, bytes] | None) -> None:
        with suppress(OSError):  # it is dead, as messages() will find
            self.pipe.send_bytes(pickle.dumps(message))

    def _stop(self, patience_s: float) -> None:
        self._process.join(patience_s)
        if self._process.exitcode is None:
            self.kill()


class _Processes(Crew[_Process]):
    """Spawned children."""

    title = "process"

    def __init__(self, build: bytes, workers: int) -> None:
        self._build = build
        # Of several workers that each took all cores, every one would wait for the others.
        self._torch_threads = max(1, torch.get_num_threads() // workers)

    def dumps(self, thing: object) -> bytes:
        return pickle.dumps(thing)

    def hire(self) -> _Process:
        return _Process(self._build, self._torch_threads)

    def listen(self, workers: Sequence[_Process], timeout_s: float) -> None:
        connection.wait([worker.pipe for worker in workers], timeout_s)


@contextmanager
def _sigint_held_back() -> Iterator[None]:
    """Children start with Ctrl-C blocked and never see it; one that comes meanwhile reaches this process afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # or starting the first child would start it, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, build: bytes, parent: int, torch_threads: int) -> None:
    """What a child does: a thread reads the pipe, the others work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settle_threads(torch_threads)
    items = SimpleQueue[tuple[int, bytes] | None]()
    Thread(target=_read, args=(pipe, items, parent), daemon=True).start()
    lock = Lock()

    def send(message: Message) -> None:
        packed = pickle.dumps(message)
        try:
            with lock:
                pipe.send_bytes(packed)
        except OSError:
            os._exit(1)

    serve(build, iter(items.get, None), send, pickle.dumps)


def _read(pipe: Connection, items: SimpleQueue[tuple[int, bytes] | None], parent: int) -> None:
    """Pass on what comes; with the parent gone, this process ends at once, in the middle of whatever it does."""
    try:
        while True:
            # The pipe does not always tell: a process that the parent forked meanwhile may hold its other end.
            while not pipe.poll(_LOOK_FOR_PARENT_S):
                if os.name == "posix" and os.getppid() != parent:
                    os._exit(1)
            items.put(pickle.loads(pipe.recv_bytes()))  # noqa: S301 - the parent's
    except (EOFError, OSError):
        os._exit(1)
