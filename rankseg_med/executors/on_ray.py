"""Items on a Ray cluster: workers on many machines."""

from __future__ import annotations

import logging
import math
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock
from types import ModuleType
from typing import Any

import torch

from rankseg_med.errors import InputError
from rankseg_med.executors.crew import Crew, Worker
from rankseg_med.executors.dispatch import Dispatch
from rankseg_med.executors.executor import ItemT, OnStage, StagedWork
from rankseg_med.executors.messages import Collapsed, Message, pack
from rankseg_med.executors.outcome import Item, Outcome
from rankseg_med.executors.serving import serve
from rankseg_med.threads import settle_threads


def run_on_ray(
    build: Callable[[], Sequence[Callable[[Any], Any]]],
    items: Iterable[Item],
    *,
    address: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float = 0,
    cpus_per_worker: float | None = None,
    timeout_s: float | None = None,
    on_stage: Callable[[Item, int, str], None] | None = None,
) -> Iterator[Outcome[Item, Any]]:
    """Run items through stages, as ``run_in_processes`` does, in actors of a Ray cluster.

    Workers that die and items that take too long are dealt with as there, on whatever machine Ray starts the next
    worker. All machines need the same packages, this one included, and see the same files under the same paths.

    In a process that is connected to a cluster already, that connection is used and stays. Otherwise this connects,
    and disconnects at the end; a cluster that it started for itself ends with it. Nothing is reported to Ray's
    makers, and no dashboard is started.

    Args:
        build: Returns the stages; called once in each worker. Ray's pickle takes local functions too.
        items: What to run, drawn as workers have room. The outcome holds the caller's own object.
        address: Address of the cluster: ``"auto"`` for the one this machine belongs to. Default: what the environment
            variable ``RAY_ADDRESS`` says, or else a cluster of this machine alone, for this run alone.
        workers: How many at a time, at most. Default: as many as the cluster has room for at the start.
        gpus_per_worker: GPUs that Ray sets aside for a worker; a fraction lets several share one. A worker with none
            may not see any.
        cpus_per_worker: CPU cores that Ray sets aside for a worker, which are its torch threads too. Default: one is
            set aside, so that a busy cluster has room, and the workers that are asked for share the machines' cores out
            as their threads; where the cluster is started for this run, those threads of torch that this process has.
        timeout_s: How long an item may be within its stages, waits in between not counted. Default: no limit.
        on_stage: Called in the calling thread as an item enters a stage, with the item, the stage's index and the
            worker's name, such as ``"actor 1"``. What it raises ends the run.

    Returns:
        An outcome per item, as each finishes, in no order; nothing starts before the first is asked for. What the
        iterable of items itself raises is raised after the outcomes of the items before, what ``build`` raises at once.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: No workers, a timeout that is not positive, or, while iterating, no machine that has what one worker
            is to have.
        TransferError: ``build`` cannot be pickled.
        ConnectionError: While iterating: there is no cluster at the address.
        WorkerDied: While iterating: workers die, one after another, before they take an item.
    """
    if workers is not None and workers < 1:
        raise InputError(f"at least one worker is needed, got workers={workers}")
    if timeout_s is not None and not timeout_s > 0:
        raise InputError(f"timeout_s has to be positive, or None for no limit, got {timeout_s}")
    shares = [gpus_per_worker, 1 if cpus_per_worker is None else cpus_per_worker]
    if min(shares) < 0 or not any(shares):
        raise InputError(
            f"a worker needs a share of the cluster, got cpus_per_worker={cpus_per_worker} and "
            f"gpus_per_worker={gpus_per_worker}; give at least one of them, as a positive number"
        )
    ray = _import_ray()
    packed = pack("function that builds the stages", build, ray.cloudpickle.dumps)

    def outcomes() -> Iterator[Outcome[Item, Any]]:
        with _connection(ray, address) as is_own:
            cpus = 1 if cpus_per_worker is None else cpus_per_worker
            threads = max(1, int(cpus))
            if cpus_per_worker is None and workers is not None:
                threads = max(1, torch.get_num_threads() // workers) if is_own else _share(ray, workers)
            room = _room(ray, cpus, gpus_per_worker)
            if workers is None and not room:
                raise InputError(
                    f"a worker is to have {cpus:g} CPUs and {gpus_per_worker:g} GPUs, but no machine of the "
                    f"cluster has them: it has {ray.cluster_resources()}; ask for less, or give the number of workers "
                    "if the cluster grows when asked"
                )
            crew = _Actors(ray, packed, threads, num_cpus=cpus, num_gpus=gpus_per_worker)
            count = room if workers is None else workers
            yield from Dispatch(crew, items, workers=count, timeout_s=timeout_s, on_stage=on_stage).outcomes()

    return outcomes()


@dataclass(frozen=True)
class OnRay:
    """On a Ray cluster; outputs go to a folder that all its nodes share.

    Attributes:
        address: Address of the cluster, such as ``"auto"``; None starts one on this machine for the run.
        workers: Number of actors, each with all that is built; by default as many as the cluster has room for.
        gpus_per_worker: May be a fraction.
        cpus_per_worker: Cores, and torch threads, of each; see `run_on_ray`.
        timeout_s: Seconds that an item may spend in stages.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float = 0
    cpus_per_worker: float | None = None
    timeout_s: float | None = None

    def __call__(
        self, work: StagedWork[ItemT], items: Iterable[ItemT], on_stage: OnStage | None
    ) -> Iterator[Outcome[ItemT, Any]]:
        """An outcome per item, as each finishes; see `run_on_ray`."""
        return run_on_ray(
            work.build,
            items,
            address=self.address,
            workers=self.workers,
            gpus_per_worker=self.gpus_per_worker,
            cpus_per_worker=self.cpus_per_worker,
            timeout_s=self.timeout_s,
            on_stage=on_stage,
        )


def _import_ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read by the cluster that this process may start
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError("ray is not installed; install it with: pip install 'rankseg-med[ray]'") from error
    return ray


def _room(ray: ModuleType, cpus: float, gpus: float) -> int:
    """How many workers the machines of the cluster hold together."""
    count = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            shares = [has.get(name, 0.0) / share for name, share in (("CPU", cpus), ("GPU", gpus)) if share]
            count += int(min(shares))
    return count


def _share(ray: ModuleType, workers: int) -> int:
    """Cores that each of so many workers gets, if they spread evenly over the machines of the cluster."""
    cores = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    cores = [number for number in cores if number >= 1]
    if not cores:
        return 1
    return max(1, int(min(cores) // math.ceil(workers / len(cores))))


_connections = 0  # that runs of this module hold; two runs may be under way at the same time
_connections_lock = Lock()


@contextmanager
def _connection(ray: ModuleType, address: str | None) -> Iterator[bool]:
    """Be connected to the cluster; the last to leave disconnects, unless someone else had connected before.

    Yields:
        Whether the cluster was started for this run.
    """
    global _connections
    is_own = False
    with _connections_lock:
        ours = _connections > 0 or not ray.is_initialized()
        if ours and _connections == 0:
            address = address or os.environ.get("RAY_ADDRESS") or "local"
            is_own = address == "local"
            ray.init(
                address=address,
                include_dashboard=False if is_own else None,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        _connections += ours
    try:
        yield is_own
    finally:
        with _connections_lock:
            _connections -= ours
            if ours and _connections == 0:
                ray.shutdown()


class _Actor:
    """What runs on the cluster. Its methods run in threads of their own: one works, one takes items, one tells."""

    def __init__(self) -> None:
        self._items = SimpleQueue[tuple[int, bytes]]()
        self._messages = SimpleQueue[Message]()

    def work(self, build: bytes, torch_threads: int) -> None:
        """Take items until the actor is killed."""
        import ray

        try:
            settle_threads(torch_threads)
            serve(build, iter(self._items.get, None), self._messages.put, ray.cloudpickle.dumps)
        except BaseException as error:  # noqa: BLE001 - nobody waits for this call; it ends here
            self._messages.put(Collapsed(f"{type(error).__name__}: {error}"))

    def give(self, number: int, packed: bytes) -> None:
        """An item to work on."""
        self._items.put((number, packed))

    def messages(self) -> list[Message]:
        """What there is to say since the last call; waits until there is something."""
        messages = [self._messages.get()]
        try:
            while True:
                messages.append(self._messages.get_nowait())
        except Empty:
            return messages


class _RayWorker(Worker):
    """An actor, seen from here."""

    def __init__(self, ray: ModuleType, actor: Any, build: bytes, torch_threads: int) -> None:  # noqa: ANN401 - untyped
        self._ray = ray
        self._actor = actor
        self._working = actor.work.remote(build, torch_threads)
        self.next_messages = actor.messages.remote()
        self._death: str | None = None

    def give(self, number: int, packed: bytes) -> None:
        self._actor.give.remote(number, packed)

    def messages(self) -> list[Message]:
        if self._death is not None or not self._ray.wait([self.next_messages], timeout=0)[0]:
            return []
        try:
            messages: list[Message] = self._ray.get(self.next_messages)
        except self._ray.exceptions.RayError as error:
            said = textwrap.shorten(str(error), 300, placeholder=" ...")
            self._death = f"{said}; often the system kills for want of memory: run fewer workers, or give them more"
            return []
        self.next_messages = self._actor.messages.remote()
        if isinstance(last := messages[-1], Collapsed):
            self._death = last.reason
        return messages

    def death(self) -> str | None:
        return self._death

    def end(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._ray.kill(self._actor, no_restart=True)

    def join(self) -> None:
        self.kill()  # where the actor collapsed, its process is still there


class _Actors(Crew[_RayWorker]):
    """Actors of the cluster that this process is connected to."""

    title = "actor"

    def __init__(self, ray: ModuleType, build: bytes, torch_threads: int, **share: float) -> None:
        self._ray = ray
        self._build = build
        self._torch_threads = torch_threads
        self._actor = ray.remote(max_concurrency=3, max_restarts=0, max_task_retries=0, **share)(_Actor)

    def dumps(self, thing: object) -> bytes:
        packed: bytes = self._ray.cloudpickle.dumps(thing)
        return packed

    def hire(self) -> _RayWorker:
        return _RayWorker(self._ray, self._actor.remote(), self._build, self._torch_threads)

    def listen(self, workers: Sequence[_RayWorker], timeout_s: float) -> None:
        self._ray.wait([worker.next_messages for worker in workers], timeout=timeout_s)
