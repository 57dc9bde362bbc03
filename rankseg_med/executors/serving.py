"""What a worker does, wherever it is: build the stages once, then take items and tell what becomes of them."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from rankseg_med.executors.messages import (
    BuildFailed,
    Dumps,
    Entered,
    Failure,
    Finished,
    Left,
    Message,
    Ready,
    traceback_of,
)
from rankseg_med.executors.overlapped import run_overlapped


def serve(build: bytes, items: Iterable[tuple[int, bytes]], send: Callable[[Message], None], dumps: Dumps) -> None:
    """Build the stages and run items through them, overlapped, until no more come.

    Args:
        build: Pickled callable that returns the stages.
        items: Numbers, by which messages name the items, and pickled items.
        send: Takes messages, from any thread.
        dumps: Pickles results and errors.
    """
    try:
        stages = tuple(pickle.loads(build)())  # noqa: S301 - sent by the process that started this one
        if not stages:
            raise ValueError("build() has to return at least one stage, got none")
    except Exception as error:  # noqa: BLE001 - raised in the process that started this one
        send(BuildFailed(Failure.of(error, traceback_of(error), dumps)))
        return
    send(Ready(len(stages)))
    watched = [partial(_advance, send, index, stage) for index, stage in enumerate(stages)]
    tickets = (_Ticket(number, packed) for number, packed in items)
    for outcome in run_overlapped(watched, tickets):
        ticket = outcome.item
        send(Finished.of(ticket.number, replace(outcome, result=ticket.take()), dumps))


class _Ticket:
    """An item on its way: its number and what the stage before returned, to which nothing else refers."""

    def __init__(self, number: int, value: object) -> None:
        self.number = number
        self._value = value

    def put(self, value: object) -> None:
        self._value = value

    def take(self) -> Any:  # noqa: ANN401 - stages pass each other what they like
        value, self._value = self._value, None
        return value


def _advance(send: Callable[[Message], None], index: int, stage: Callable[[Any], Any], ticket: _Ticket) -> _Ticket:
    """Take the ticket's value through a stage, and tell when it enters and when it leaves."""
    send(Entered(ticket.number, index))
    start = time.perf_counter()
    try:
        if index == 0:
            ticket.put(pickle.loads(ticket.take()))  # noqa: S301 - sent by the process that started this one
        ticket.put(stage(ticket.take()))
    finally:
        send(Left(ticket.number, time.perf_counter() - start))
    return ticket
