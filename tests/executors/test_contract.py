"""What every executor does, whatever carries the items."""

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

from rankseg_med.executors import Outcome, run_in_processes, run_on_ray, run_overlapped
from tests.executors import builds

Run = Callable[..., Iterator[Outcome[Any, Any]]]


def run_here(build: Callable[[], Any], items: Any, **options: Any) -> Iterator[Outcome[Any, Any]]:
    return run_overlapped(build(), items, **options)


RUNS = {
    "here": run_here,
    "process": run_in_processes,
    "processes": partial(run_in_processes, workers=2),
    "ray": partial(run_on_ray, workers=2),
}


@pytest.fixture(
    params=["here", "processes", *(pytest.param(name, marks=pytest.mark.slow) for name in ("process", "ray"))],
    scope="module",
)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    yield RUNS[request.param]
    assert multiprocessing.active_children() == []


def test_every_item_has_its_result(run):
    outcomes = list(run(builds.arithmetic, range(300)))
    assert sorted((outcome.item, outcome.result) for outcome in outcomes) == [(x, 2 * x + 1) for x in range(300)]
    assert {(outcome.error, outcome.traceback) for outcome in outcomes} == {(None, None)}
    assert all(len(outcome.stage_seconds) == 2 for outcome in outcomes)
    assert all(sum(outcome.stage_seconds) <= outcome.seconds for outcome in outcomes)


def test_nothing_to_do_without_items(run):
    assert list(run(builds.failing if run is not run_here else builds.arithmetic, [])) == []


def test_outcomes_hold_the_callers_own_items(run):
    item = [1]
    (outcome,) = run(builds.acting, [item])
    assert outcome.item is item
    assert outcome.result == [1]


def test_failures_are_their_items_alone(run):
    items = [1, ("raise", "secret"), 2, ("raise", "other"), 3]
    outcomes = {outcome.item: outcome for outcome in run(builds.acting_second, items)}
    assert len(outcomes) == 5
    assert {item: outcome.result for item, outcome in outcomes.items() if outcome.error is None} == {1: 1, 2: 2, 3: 3}
    failed = outcomes["raise", "other"]
    assert isinstance(failed.error, ValueError)
    assert str(failed.error) == "other"
    assert failed.result is None
    assert len(failed.stage_seconds) == 2


def test_failures_say_where(run):
    (outcome,) = run(builds.acting, [("raise", "reason")])
    assert outcome.traceback.startswith("Traceback (most recent call last):\n")
    assert "builds.py" in outcome.traceback
    assert outcome.traceback.endswith("    raise ValueError(value)\nValueError: reason\n")


def test_what_the_iterable_raises_comes_after_the_outcomes_before(run):
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise OSError("the list is truncated")

    outcomes = run(builds.arithmetic, items())
    assert sorted(next(outcomes).result for _ in range(3)) == [3, 5, 7]
    with pytest.raises(OSError, match="truncated"):
        next(outcomes)


def test_a_run_whose_items_end_finishes_what_is_in_hand(run):
    drawn, ending = [], threading.Event()

    def items() -> Iterator[int]:
        while not ending.is_set():
            drawn.append(len(drawn))
            yield drawn[-1]

    seen = []
    for outcome in run(builds.arithmetic, items()):
        seen.append((outcome.item, outcome.result))
        if len(seen) == 10:
            ending.set()
    assert sorted(seen) == [(x, 2 * x + 1) for x in drawn]


def test_no_more_is_drawn_than_there_is_room_for(run):
    drawn, most = [], 0
    for count, _ in enumerate(run(builds.arithmetic, (drawn.append(x) or x for x in range(50)))):
        most = max(most, len(drawn) - count)
    in_hand = 4 if run is not RUNS["process"] else 2  # two stages in two workers; in this process, two more wait
    assert most <= 2 * in_hand  # as many again may be done and wait to be asked for


@pytest.mark.parametrize("taken", [0, 1])
def test_closing_early_is_prompt(run, taken):
    items = [0] * taken + [("sleep", 0.2 if run is run_here else 30.0)] * 10
    outcomes = run(builds.acting, items)
    for _ in range(taken):
        next(outcomes)
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 5
    assert list(outcomes) == []


def test_on_stage_is_told_of_every_item_and_stage(run):
    told = []
    list(run(builds.arithmetic, range(20), on_stage=lambda *what: told.append(what)))
    assert Counter((item, stage) for item, stage, _ in told) == Counter(
        (x, stage) for x in range(20) for stage in (0, 1)
    )
    for x in range(20):
        assert [stage for item, stage, _ in told if item == x] == [0, 1]
    assert {name for _, _, name in told} <= {
        *("this process", "process 1", "process 2", "actor 1", "actor 2"),
    }


@pytest.mark.parametrize("failing", [0, 1])
def test_what_on_stage_raises_ends_the_run(run, failing):
    def on_stage(item: int, stage: int, worker: str) -> None:
        if (item, stage) == (3, failing):
            raise RuntimeError("the terminal is gone")

    with pytest.raises(RuntimeError, match="the terminal is gone"):
        list(run(builds.arithmetic, range(20), on_stage=on_stage))


def test_what_build_raises_ends_the_run(run):
    with pytest.raises(OSError, match="no such checkpoint"):
        list(run(builds.failing, [1]))


def test_stages_are_needed(run):
    with pytest.raises(ValueError, match="at least one stage, got none"):
        list(run(builds.empty, [1]))


def test_stages_are_built_once_a_worker(run, tmp_path):
    build = builds.Noting(tmp_path / "pids", builds.arithmetic)
    list(run(build, range(20)))
    pids = build.pids()
    assert 1 <= len(pids) == len(set(pids)) <= 2
    if run is run_here:
        assert pids == [os.getpid()]
    else:
        assert os.getpid() not in pids


def test_a_network_keeps_its_threads_while_other_stages_work_on_one(run):
    """Three stages overlap; the first and the last set the process-wide number to 1 again and again."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        counts = Counter(outcome.result for outcome in run(builds.thread_counting, range(60)))
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    # Two workers share what there is, in this process's count or of the cluster's two cores.
    expected = {id(RUNS["processes"]): 2, id(RUNS["ray"]): 1}.get(id(run), 4)
    assert counts == {expected: 60}
