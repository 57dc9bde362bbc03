"""Interrupts, and consumers that leave. Threads sleep only to give what must not happen the time to happen."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rankseg_med.executors import run_overlapped
from tests.executors.stages import Recorder, same, wait_for


def close(start: Callable[[], Iterator[object]]) -> None:
    outcomes = start()
    next(outcomes)
    outcomes.close()


def forget(start: Callable[[], Iterator[object]]) -> None:
    next(start())


def break_off(start: Callable[[], Iterator[object]]) -> None:
    for _ in start():
        break


def interrupt(start: Callable[[], Iterator[object]]) -> None:
    def consume() -> None:
        for _ in start():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()


@pytest.mark.parametrize("leave", [close, forget, break_off, interrupt])
@pytest.mark.parametrize(
    ("slow_stage", "memory", "next_items"),
    [
        (0, {}, 2),  # stage 1 waits for item 1
        (1, {}, 4),  # stage 0 is done with item 3, but item 2 still waits
        (1, {"memory_budget": 3, "memory_needed": lambda item: 3 if item == 3 else 1}, 3),  # item 3 waits for memory
    ],
)
def test_leaving_early_waits_for_the_stages_and_starts_nothing_new(leave, slow_stage, memory, next_items):
    recorder = Recorder()
    busy, finished = threading.Event(), threading.Event()

    def slow(item: int) -> None:
        if item == 1:
            busy.set()
            time.sleep(0.15)
            finished.set()

    def once_all_wait(_: int) -> None:
        wait_for(busy)
        time.sleep(0.05)

    bodies = [same, same, once_all_wait]
    bodies[slow_stage] = slow
    leave(lambda: run_overlapped([recorder.stage(i, body) for i, body in enumerate(bodies)], range(20), **memory))
    assert finished.is_set()
    assert set(recorder.items_of(0)) <= set(range(next_items))
    assert set(recorder.items_of(1)) <= {0, 1}
    assert recorder.items_of(2) == [0]


class Stop(BaseException):
    """Not an error of one item, whatever it is."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Stop])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_interrupts_in_a_stage_end_the_run(kind, stage):
    def stop(item: int) -> None:
        if item == 4:
            raise kind("enough")

    recorder = Recorder()
    stages = [recorder.stage(index, stop if index == stage else same) for index in range(3)]
    with pytest.raises(kind, match="enough"):
        list(run_overlapped(stages, range(20)))
    assert recorder.items_of(stage) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("later_stages", [0, 1])
def test_what_waits_when_a_stage_is_interrupted_is_not_taken_on(later_stages):
    recorder = Recorder()
    interrupting = threading.Event()

    def stop(item: int) -> None:
        if item == 2:  # item 1 waits
            interrupting.set()
            raise KeyboardInterrupt

    def slow(_: int) -> None:
        wait_for(interrupting)
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        list(run_overlapped([recorder.stage(0, stop), recorder.stage(1, slow)] + [same] * later_stages, range(20)))
    assert recorder.items_of(0) == [0, 1, 2]
    assert recorder.items_of(1) == [0]


def test_the_other_stages_finish_when_one_is_interrupted():
    drawn: list[int] = []
    busy, finished = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        for item in range(20):
            drawn.append(item)
            yield item

    def slow(item: int) -> int:
        if item == 2:
            busy.set()
            time.sleep(0.1)
            finished.set()
        return item

    def stop(item: int) -> None:
        if item == 1:
            wait_for(busy)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_overlapped((slow, stop, same), items()))
    assert finished.is_set()
    assert drawn == [0, 1, 2]


def test_interrupts_of_the_iterable_end_the_run():
    def items() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_overlapped((same, same), items()))


@pytest.mark.parametrize("error_delay", [0.0, 0.1])
def test_an_interrupt_goes_before_an_error_of_the_iterable(error_delay):
    drawing = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        drawing.set()
        time.sleep(error_delay)
        raise OSError

    def stop(_: object) -> None:
        wait_for(drawing)
        time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_overlapped((same, stop, same), items()))


@pytest.fixture
def has_come_through() -> Iterator[threading.Event]:
    """Whether Ctrl-C has interrupted the caller, late on a busy machine, and in the background of a shell too."""
    event = threading.Event()

    def interrupt(*_: object) -> None:
        event.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    yield event
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal for one thread")
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_ctrl_c_reaches_the_caller_wherever_the_items_are(stage, has_come_through):
    finished = threading.Event()

    def ctrl_c(item: int) -> None:
        if item == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            wait_for(has_come_through)
            time.sleep(0.1)
            finished.set()

    recorder = Recorder()
    stages = [recorder.stage(index, ctrl_c if index == stage else same) for index in range(3)]
    with pytest.raises(KeyboardInterrupt):
        list(run_overlapped(stages, range(20)))
    assert recorder.items_of(stage) == [0, 1, 2, 3]
    assert finished.is_set() == (stage < 2)  # in the last stage it strikes at once
