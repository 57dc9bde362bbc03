import logging
import threading
import time
from collections.abc import Iterator

from rankseg_med.executors import run_overlapped
from tests.executors.stages import Recorder, same, wait_for


def test_the_budget_bounds_what_is_under_way(caplog):
    under_way: dict[int, int] = {}
    sums: list[int] = []
    sizes = [4, 4, 1, 5, 12, 2, 2, 2, 2, 30, 1]

    def first(item: int) -> int:
        under_way[item] = sizes[item]
        sums.append(sum(under_way.values()))
        if sizes[item] > 10:
            assert list(under_way) == [item]
        return item

    def last(item: int) -> int:
        del under_way[item]
        return item

    with caplog.at_level(logging.WARNING, "rankseg_med"):
        outcomes = list(
            run_overlapped((first, same, last), range(11), memory_budget=10, memory_needed=sizes.__getitem__)
        )
    assert [outcome.error for outcome in outcomes] == [None] * 11
    assert all(total <= 10 or total in {12, 30} for total in sums)
    assert [record.getMessage() for record in caplog.records] == [
        "4 needs 12 bytes, more than the memory budget of 10: it runs alone",
        "9 needs 30 bytes, more than the memory budget of 10: it runs alone",
    ]


def test_an_item_waits_for_memory_and_is_the_only_one_looked_at_ahead():
    drawn, third = [], threading.Event()
    recorder = Recorder()

    def items() -> Iterator[int]:
        for item in range(6):
            drawn.append(item)
            if item == 2:
                third.set()
            yield item

    def last(item: int) -> None:
        if item == 0:  # 0 and 1 fill the budget
            wait_for(third)
            time.sleep(0.05)
            assert drawn == [0, 1, 2]
            assert recorder.items_of(0) == [0, 1]

    stages = (recorder.stage(0), same, same, last)
    outcomes = list(run_overlapped(stages, items(), memory_budget=2, memory_needed=lambda _: 1))
    assert [outcome.error for outcome in outcomes] == [None] * 6
    assert drawn == list(range(6))


def test_failed_items_give_their_memory_back():
    outcomes = run_overlapped((lambda x: 1 // x, same), [0, 0, 0, 1], memory_budget=1, memory_needed=lambda _: 1)
    assert [outcome.result for outcome in outcomes] == [None, None, None, 1]


def test_an_item_whose_need_cannot_be_told_has_failed():
    outcomes = list(run_overlapped((same, same), [2, 0, 1], memory_budget=9, memory_needed=lambda x: 4 // x))
    assert [outcome.result for outcome in outcomes] == [2, None, 1]
    assert isinstance(outcomes[1].error, ZeroDivisionError)
    assert (outcomes[1].seconds, outcomes[1].stage_seconds) == (0.0, ())
