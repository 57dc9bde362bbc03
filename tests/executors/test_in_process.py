import pytest

from rankseg_med.executors import run_in_process


def test_a_failing_item_does_not_stop_the_others():
    outcomes = list(run_in_process(lambda x: 6 // x, [1, 0, 3]))
    assert [outcome.item for outcome in outcomes] == [1, 0, 3]
    assert [outcome.result for outcome in outcomes] == [6, None, 2]
    assert isinstance(outcomes[1].error, ZeroDivisionError)
    assert outcomes[0].error is None
    assert all(outcome.seconds >= 0 for outcome in outcomes)


def test_results_come_as_they_are_ready():
    started = []
    outcomes = run_in_process(started.append, [1, 2])
    next(outcomes)
    assert started == [1]


def test_interrupts_get_through():
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_in_process(interrupt, [1]))


def test_on_stage_is_told_of_every_item():
    told = []
    list(run_in_process(str, [1, 2], on_stage=lambda *what: told.append(what)))
    assert told == [(1, 0, "this process"), (2, 0, "this process")]
