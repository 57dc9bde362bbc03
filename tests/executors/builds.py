"""Builds for workers in other processes: module level, so that they can be pickled."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch


class UnpicklableError(Exception):
    """Its constructor asks for more than its arguments, so it can be pickled, but not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def double(x: int) -> int:
    return 2 * x


def increment(x: int) -> int:
    return x + 1


def act(item: object) -> object:
    """What the item says."""
    if not isinstance(item, tuple):
        return item
    verb, value = item
    match verb:
        case "sleep":
            time.sleep(value)
        case "raise":
            raise ValueError(value)
        case "raise unpicklable":
            raise UnpicklableError("this", value)
        case "return unpicklable":
            return threading.Lock()
        case "kill":
            os.kill(os.getpid(), value)
            time.sleep(10)
        case "kill once":
            try:
                Path(value).touch(exist_ok=False)
            except FileExistsError:
                return "survived"
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(10)
        case "exit":
            raise SystemExit(value)
    return value


def arithmetic() -> Sequence[Callable]:
    return double, increment


def acting() -> Sequence[Callable]:
    return (act,)


def acting_second() -> Sequence[Callable]:
    return pass_on, act, pass_on


def acting_twice() -> Sequence[Callable]:
    return act_and_pass_on, act


def act_and_pass_on(item: object) -> object:
    act(item)
    return item


def killing_then_sleeping() -> Sequence[Callable]:
    return act_unless_sleep, act


def act_unless_sleep(item: tuple[str, object]) -> tuple[str, object]:
    if item[0] != "sleep":
        act(item)
    return item


def blocked_signals() -> Sequence[Callable]:
    return (lambda _: [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],)


def pass_on(item: object) -> object:
    return item


def failing() -> Sequence[Callable]:
    raise OSError("no such checkpoint")


def empty() -> Sequence[Callable]:
    return ()


def dying() -> Sequence[Callable]:
    os._exit(3)


class Noting:
    """Stages, after the worker's process number was written down."""

    def __init__(self, file: Path, build: Callable[[], Sequence[Callable]]) -> None:
        self.file = file
        self.build = build

    def __call__(self) -> Sequence[Callable]:
        with self.file.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return self.build()

    def pids(self) -> list[int]:
        return [int(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _on_one_thread(item: int) -> int:
    """As a stage does that loads or decodes: one thread while it works, then as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    time.sleep(0.002)
    torch.set_num_threads(threads)
    return item


def _threads_of_the_network(item: int) -> int:
    """As a network's stage: how many threads it has, at its start or its end, whichever is fewer."""
    before = torch.get_num_threads()
    time.sleep(0.003)
    torch.ones(2, 2) @ torch.ones(2, 2)
    return min(before, torch.get_num_threads())


def thread_counting() -> Sequence[Callable]:
    return _on_one_thread, _threads_of_the_network, _one_thread_result


def _one_thread_result(count: int) -> int:
    return _on_one_thread(count)
