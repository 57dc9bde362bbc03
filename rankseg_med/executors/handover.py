"""How threads hand things to one another until they are sent home."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Halted(Exception):  # noqa: N818 - a signal to a thread that its time is over, not an error
    """The thread waited for something that was halted."""


class Handover(Generic[Thing]):
    """Passes things from one thread to another in order; at most one of them waits to be taken.

    Both sides wait in ``SimpleQueue.get``, which Ctrl-C interrupts at once and leaves intact.
    """

    def __init__(self) -> None:
        self._things = SimpleQueue[Thing | None]()  # None: nothing more comes
        self._room = SimpleQueue[None]()
        self._room.put(None)
        self._halted = False

    def put(self, thing: Thing) -> None:
        """Hand over; waits until the thing before was taken.

        Raises:
            Halted: ``halt`` was called, before or meanwhile.
        """
        self._room.get()
        if self._halted:
            raise Halted
        self._things.put(thing)

    def end(self) -> None:
        """Nothing more comes; what waits is still to be taken."""
        self._things.put(None)

    def halt(self) -> None:
        """Nothing more is handed over: the giver is stopped at its next ``put``, and the taker finds the end."""
        self._halted = True
        self._room.put(None)
        self._things.put(None)

    def __iter__(self) -> Iterator[Thing]:
        """Take things as they come."""
        while (thing := self._things.get()) is not None and not self._halted:
            self._room.put(None)
            yield thing
