import logging
import time
import weakref

import pytest

from rankseg_med.executors import run_overlapped
from tests.executors.stages import SECONDS, same


def test_seconds_are_from_the_first_start_to_the_last_end():
    def nap(_: object) -> None:
        time.sleep(0.02)

    (outcome,) = run_overlapped((nap, nap), ["item"])
    assert all(seconds >= 0.02 for seconds in outcome.stage_seconds)
    assert sum(outcome.stage_seconds) <= outcome.seconds < SECONDS


def test_tracebacks_go_to_the_log(caplog):
    with caplog.at_level(logging.DEBUG, "rankseg_med"):
        list(run_overlapped((same, lambda x: 1 // x), [0]))
    assert "0 failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


class Volume:
    """Something large that can be watched."""


def test_what_a_stage_returned_is_gone_once_the_next_has_let_it_go():
    def network(volume: Volume) -> bool:
        mine = weakref.ref(volume)
        del volume
        return mine() is None

    outcomes = list(run_overlapped((lambda _: Volume(), network, same), range(5)))
    assert [outcome.result for outcome in outcomes] == [True] * 5


def test_results_live_as_long_as_the_consumer_keeps_them():
    outcomes = run_overlapped((same, lambda _: Volume()), range(3))
    volume = weakref.ref(next(outcomes).result)
    assert volume() is None
    outcomes.close()


@pytest.mark.parametrize("count", [1, 3])
def test_the_errors_of_failed_items_do_not_keep_their_volumes(count):
    volumes: list[weakref.ref[Volume]] = []

    def cause() -> None:
        mine = Volume()
        volumes.append(weakref.ref(mine))
        raise KeyError("cause")

    def fail(_: object) -> None:
        mine = Volume()
        volumes.append(weakref.ref(mine))
        try:
            cause()
        except KeyError as error:
            raise ValueError("effect") from error

    outcomes = list(run_overlapped([fail] + [same] * (count - 1), range(3)))
    assert [volume() for volume in volumes] == [None] * 6
    assert [str(outcome.error) for outcome in outcomes] == ["effect"] * 3
