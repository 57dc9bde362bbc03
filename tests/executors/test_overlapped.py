import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.executors import run_overlapped
from tests.executors.stages import SECONDS, Recorder, same, wait_for


def test_each_stage_takes_what_the_one_before_returned():
    outcomes = list(run_overlapped((str, lambda text: text * 2, int), [1, 23]))
    assert [outcome.item for outcome in outcomes] == [1, 23]
    assert [outcome.result for outcome in outcomes] == [11, 2323]
    assert all(outcome.error is None for outcome in outcomes)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_item_that_fails_in_any_stage_does_not_stop_the_others(failing):
    def fail_on_two(x: int) -> int:
        if x == 2:
            raise ValueError("two")
        return x

    recorder = Recorder()
    stages = [recorder.stage(0), recorder.stage(1), recorder.stage(2)]
    stages.insert(failing, fail_on_two)
    outcomes = list(run_overlapped(stages, [1, 2, 3]))
    assert [outcome.result for outcome in outcomes] == [1, None, 3]
    assert [str(outcome.error) for outcome in outcomes] == ["None", "two", "None"]
    assert [len(outcome.stage_seconds) for outcome in outcomes] == [4, failing + 1, 4]
    assert [recorder.items_of(stage) for stage in range(3)] == [
        [1, 2, 3] if stage < failing else [1, 3] for stage in range(3)
    ]


def test_nothing_to_do_without_items():
    assert list(run_overlapped((same, same), [])) == []


def test_errors_of_the_iterable_come_after_the_outcomes_before():
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise OSError("the list is truncated")

    outcomes = run_overlapped((same, same, same), items())
    assert [next(outcomes).result for _ in range(3)] == [1, 2, 3]
    with pytest.raises(OSError, match="truncated"):
        next(outcomes)


@pytest.mark.parametrize(
    ("stages", "options", "message"),
    [
        ((), {}, "at least one stage"),
        ((same,), {"memory_budget": 3}, "memory_budget=3 alone; give memory_needed as well"),
    ],
)
def test_what_is_required_is_said_at_the_call(stages, options, message):
    with pytest.raises(ValueError, match=message):
        run_overlapped(stages, [], **options)


JOBS = st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 3), st.integers(0, 12)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(jobs=JOBS, count=st.integers(1, 4), budget=st.none() | st.integers(1, 20))
def test_outcomes_are_those_of_a_plain_loop(jobs, count, budget):
    def stage(index: int) -> Callable[[tuple], tuple]:
        def run(job: tuple) -> tuple:
            value, failing, size = job
            time.sleep(value * (index + 1) % 4 / 1e4)  # so that another stage is the slowest each time
            if failing == index:
                raise ValueError(f"{value} in {index}")
            return value * 3 + index, failing, size

        return run

    stages = [stage(index) for index in range(count)]
    expected: list[tuple] = []
    for job in jobs:
        value = job
        try:
            for run in stages:
                value = run(value)
            expected.append((job, value, None))
        except ValueError as error:
            expected.append((job, None, str(error)))
    memory = {} if budget is None else {"memory_budget": budget, "memory_needed": lambda job: job[2]}
    outcomes = [
        (outcome.item, outcome.result, outcome.error and str(outcome.error))
        for outcome in run_overlapped(stages, jobs, **memory)
    ]
    assert outcomes == expected


def test_every_stage_is_busy_with_another_item():
    all_busy = threading.Barrier(3)

    def stage(index: int) -> Callable[[int], int]:
        def run(item: int) -> int:
            if item == 2 - index:
                all_busy.wait(SECONDS)
            return item

        return run

    outcomes = list(run_overlapped((stage(0), stage(1), stage(2)), range(5)))
    assert [outcome.error for outcome in outcomes] == [None] * 5


def test_a_stage_keeps_its_thread_and_the_last_is_the_callers():
    threads: list[set[int]] = [set(), set(), set()]
    stages = [lambda _, mine=mine: mine.add(threading.get_ident()) for mine in threads]
    list(run_overlapped(stages, range(10)))
    assert [len(mine) for mine in threads] == [1, 1, 1]
    assert len(set.union(*threads)) == 3
    assert threads[2] == {threading.get_ident()}


def test_nothing_starts_before_the_first_outcome_is_asked_for():
    recorder = Recorder()
    outcomes = run_overlapped((recorder.stage(0), recorder.stage(1)), [1])
    assert recorder.started == []
    outcomes.close()
    assert recorder.started == []


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_at_most_one_item_waits_between_two_stages(count):
    most = 2 * count - 1
    drawn, full, overfull = [], threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        for item in range(20):
            drawn.append(item)
            if len(drawn) == most:
                full.set()
            if len(drawn) > most and not outcomes_seen:
                overfull.set()
            yield item

    def last(item: int) -> int:
        if item == 0:
            wait_for(full)
            assert not overfull.wait(0.1)
        return item

    outcomes_seen: list[object] = []
    for outcome in run_overlapped([same] * (count - 1) + [last], items()):
        outcomes_seen.append(outcome)
        assert outcome.error is None
    assert len(drawn) == len(outcomes_seen) == 20
