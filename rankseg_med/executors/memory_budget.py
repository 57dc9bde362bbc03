"""Memory that several items share."""

from __future__ import annotations

from queue import SimpleQueue

from rankseg_med.executors.handover import Halted


class MemoryBudget:
    """Lends memory to one item after another, and waits where it does not suffice.

    One thread borrows; any may give back.

    Args:
        total: In bytes. An item that needs more gets it once nothing else is lent.
    """

    def __init__(self, total: float) -> None:
        self.total = total
        self._lent = 0
        self._returned = SimpleQueue[int]()
        self._halted = False

    def borrow(self, memory_bytes: int) -> None:
        """Wait until so many bytes are free.

        Raises:
            Halted: ``halt`` was called, before or meanwhile.
        """
        while self._lent and self._lent + memory_bytes > self.total and not self._halted:
            self._lent -= self._returned.get()
        if self._halted:
            raise Halted
        self._lent += memory_bytes

    def give_back(self, memory_bytes: int) -> None:
        """What was borrowed is free again."""
        self._returned.put(memory_bytes)

    def halt(self) -> None:
        """Nothing more is lent; nobody waits any longer."""
        self._halted = True
        self._returned.put(0)
