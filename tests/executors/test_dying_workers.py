"""Workers that are killed, crash, hang, or return what cannot travel."""

import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from rankseg_med.executors import ItemTimeout, Outcome, TransferError, WorkerDied, run_in_processes, run_on_ray
from tests.executors import builds

Run = Callable[..., Iterator[Outcome[Any, Any]]]

RUNS = {
    "process": run_in_processes,
    "processes": partial(run_in_processes, workers=2),
    "ray": partial(run_on_ray, workers=2),
}


@pytest.fixture(
    params=["process", *(pytest.param(name, marks=pytest.mark.slow) for name in ("processes", "ray"))], scope="module"
)
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return RUNS[request.param]


def by_item(outcomes: Iterator[Outcome[Any, Any]]) -> dict[Any, Outcome[Any, Any]]:
    """Every item has one outcome."""
    outcomes = list(outcomes)
    assert len({outcome.item for outcome in outcomes}) == len(outcomes)
    return {outcome.item: outcome for outcome in outcomes}


def test_an_item_that_kills_its_workers_fails_and_no_other(run):
    kill = ("kill", signal.SIGKILL)
    outcomes = by_item(run(builds.acting_second, [0, 1, kill, 2, 3, ("raise", "x"), 4]))
    assert [outcomes[x].result for x in range(5)] == [0, 1, 2, 3, 4]
    assert isinstance(outcomes["raise", "x"].error, ValueError)
    assert isinstance(outcomes[kill].error, WorkerDied)
    assert "memory" in str(outcomes[kill].error)
    assert outcomes[kill].traceback is None


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (("kill", signal.SIGKILL), "was killed by SIGKILL; most often the system does that for want of memory"),
        pytest.param(("kill", signal.SIGSEGV), "was killed by SIGSEGV; a crash in native code", marks=pytest.mark.slow),
        pytest.param(("exit", 3), "ended by itself with exit code 3", marks=pytest.mark.slow),
    ],
)
def test_how_a_process_died_is_said(item, message):
    (outcome,) = run_in_processes(builds.acting, [item])
    assert isinstance(outcome.error, WorkerDied)
    assert message in str(outcome.error)


@pytest.mark.slow
def test_leaving_python_is_a_death_on_ray_too(run):
    outcomes = by_item(run(builds.acting, [1, ("exit", 3), 2]))
    assert isinstance(outcomes["exit", 3].error, WorkerDied)
    assert [outcomes[1].result, outcomes[2].result] == [1, 2]


def test_an_item_kills_two_workers_and_no_more(run, tmp_path):
    build = builds.Noting(tmp_path / "pids", builds.acting)
    (outcome,) = run(build, [("kill", signal.SIGKILL)])
    assert isinstance(outcome.error, WorkerDied)
    assert len(build.pids()) == 2


def test_an_item_survives_one_death(run, tmp_path):
    once = ("kill once", str(tmp_path / "killed"))
    outcomes = by_item(run(builds.acting_second, [0, once, 1, 2]))
    assert outcomes[once].result == "survived"
    assert [outcomes[x].result for x in range(3)] == [0, 1, 2]


@pytest.mark.slow
def test_what_is_run_again_is_alone_in_its_worker():
    """Or the second item that kills would be held against the one before, which is in the second stage meanwhile."""
    kill, sleep, also_kill = ("kill", signal.SIGKILL), ("sleep", 0.5), ("kill", signal.SIGSEGV)
    outcomes = by_item(run_in_processes(builds.killing_then_sleeping, [kill, sleep, also_kill]))
    assert outcomes[sleep].error is None
    assert all(isinstance(outcomes[item].error, WorkerDied) for item in (kill, also_kill))


def test_an_item_that_takes_too_long_fails_and_no_other(run):
    slow = ("sleep", 30.0)
    start = time.monotonic()
    outcomes = by_item(run(builds.acting_second, [0, 1, slow, 2, 3, 4], timeout_s=0.5))
    assert time.monotonic() - start < 15
    assert [outcomes[x].result for x in range(5)] == [0, 1, 2, 3, 4]
    assert isinstance(outcomes[slow].error, ItemTimeout)
    assert "was longer than 0.5 s within its stages" in str(outcomes[slow].error)
    assert 0.5 <= sum(outcomes[slow].stage_seconds) < 5


@pytest.mark.slow
def test_waits_between_stages_do_not_count():
    items = [("sleep", 0.6 + x / 1e6) for x in range(4)]  # the last waits 0.6 s and takes 0.6 s
    outcomes = list(run_in_processes(builds.acting_second, items, timeout_s=1.1))
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert max(outcome.seconds for outcome in outcomes) > 1.1


def test_time_in_all_stages_counts():
    (outcome,) = run_in_processes(builds.acting_twice, [("sleep", 0.6)], timeout_s=1.0)
    assert isinstance(outcome.error, ItemTimeout)
    assert len(outcome.stage_seconds) == 2


@pytest.mark.slow
def test_what_the_consumer_takes_does_not_count(run):
    outcomes = run(builds.acting, [0] + [("sleep", 0.1 + x / 1e6) for x in range(2)], timeout_s=0.6)
    seen = []
    for outcome in outcomes:
        seen.append(outcome.error)
        time.sleep(0.8)
    assert seen == [None] * 3


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (("return unpicklable", 0), "the result has to be pickled .* this _thread.lock cannot be"),
        (("raise unpicklable", "that"), "tests.executors.builds.UnpicklableError: this and that"),
    ],
)
def test_what_cannot_travel_back_is_a_failure(run, item, message):
    outcomes = by_item(run(builds.acting, [1, item, 2]))
    assert isinstance(outcomes[item].error, TransferError)
    with pytest.raises(TransferError, match=message):
        raise outcomes[item].error
    assert "builds.py" in outcomes[item].traceback or "pickle" in outcomes[item].traceback
    assert [outcomes[1].result, outcomes[2].result] == [1, 2]


def test_an_item_that_cannot_be_sent_is_a_failure(run):
    lock = threading.Lock()
    outcomes = by_item(run(builds.acting, [1, lock, 2]))
    assert isinstance(outcomes[lock].error, TransferError)
    assert [outcomes[1].result, outcomes[2].result] == [1, 2]


@pytest.mark.slow
def test_workers_that_die_before_they_take_an_item_end_the_run():
    with pytest.raises(WorkerDied, match=r"5 workers in a row died before .* exit code 3"):
        list(run_in_processes(builds.dying, [1]))


def kill_at_random(build: builds.Noting, kills: int, pause_s: float, chance: random.Random) -> None:
    killed = set[int]()
    while len(killed) < kills:
        time.sleep(chance.uniform(0, pause_s))
        alive = [pid for pid in build.pids() if pid not in killed and builds.is_alive(pid)]
        if alive:
            pid = chance.choice(alive)
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_whoever_is_killed_whenever_every_item_has_one_outcome(run, tmp_path):
    chance = random.Random(0)
    on_ray = run is RUNS["ray"]
    build = builds.Noting(tmp_path / "pids", builds.acting_second)
    done = threading.Event()

    def items() -> Iterator[tuple[str, float]]:
        number = 0
        while not done.is_set():
            number += 1
            yield "sleep", chance.uniform(0, 0.02) + number * 1e-9

    def kill() -> None:
        kill_at_random(build, 8 if on_ray else 24, 0.4, chance)
        done.set()

    killer = threading.Thread(target=kill)
    killer.start()
    drawn = []
    outcomes = by_item(run(build, (drawn.append(item) or item for item in items())))
    killer.join()
    assert list(outcomes.keys() ^ set(drawn)) == []
    failed = [outcome for outcome in outcomes.values() if outcome.error is not None]
    assert all(isinstance(outcome.error, WorkerDied) for outcome in failed)
    assert all(outcome.result == item[1] for item, outcome in outcomes.items() if outcome.error is None)
    assert len(failed) < len(build.pids()) < len(outcomes)


def test_memory_is_shared_by_all_workers():
    def needed(item: tuple[str, float]) -> int:
        if item[1] == 0.04:
            raise OSError("no header")
        return 9 if item[1] == 0.03 else 2

    in_hand, most = dict[object, int](), 0

    def on_stage(item: tuple[str, float], stage: int, worker: str) -> None:
        nonlocal most
        in_hand[item] = needed(item)
        most = max(most, len(in_hand))
        assert sum(in_hand.values()) <= 5 or len(in_hand) == 1

    items = [("sleep", seconds) for seconds in (0.05, 0.051, 0.052, 0.03, 0.04, 0.053, 0.054)]
    failed = []
    for outcome in run_in_processes(
        builds.acting_second, items, workers=2, memory_budget=5, memory_needed=needed, on_stage=on_stage
    ):
        in_hand.pop(outcome.item, None)
        if outcome.error is not None:
            failed.append((outcome.item, str(outcome.error)))
    assert failed == [(("sleep", 0.04), "no header")]
    assert most == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "at least one worker is needed, got workers=0"),
        ({"timeout_s": 0.0}, "timeout_s has to be positive, or None for no limit, got 0.0"),
        ({"timeout_s": math.nan}, "timeout_s has to be positive"),
        ({"memory_budget": 3}, "memory_budget=3 alone; give memory_needed as well"),
    ],
)
def test_what_is_required_is_said_at_the_call(options, message):
    with pytest.raises(ValueError, match=message):
        run_in_processes(builds.acting, [], **options)


def test_a_build_that_cannot_be_pickled_is_refused_at_the_call():
    with pytest.raises(TransferError, match="the function that builds the stages has to be pickled"):
        run_in_processes(lambda: [], [])
