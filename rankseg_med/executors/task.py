"""An item as the dispatcher sees it, from outside the worker that it is in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic

from rankseg_med.executors.outcome import Item, Outcome


@dataclass(eq=False)
class Task(Generic[Item]):
    """An item, and how far it has come in its worker.

    Attributes:
        number: By which messages name it.
        item: What the caller gave.
        packed: The item, pickled.
        memory_bytes: What it needs.
        deaths: How many workers died with it in hand.
        began: When it entered the first stage, in seconds of the dispatcher's clock; None if it waits to.
    """

    number: int
    item: Item
    packed: bytes
    memory_bytes: int
    deaths: int = 0
    began: float | None = None
    _entered: float | None = None
    _stage_seconds: list[float] = field(default_factory=list)

    def enter(self, now: float) -> None:
        """It enters a stage."""
        self.began = now if self.began is None else self.began
        self._entered = now

    def leave(self, seconds: float) -> None:
        """It leaves the stage, after so long by the worker's own clock."""
        self._stage_seconds.append(seconds)
        self._entered = None

    def stage_seconds(self, now: float) -> tuple[float, ...]:
        """How long it was within each stage that it entered, waits in between not counted."""
        current = () if self._entered is None else (now - self._entered,)
        return (*self._stage_seconds, *current)

    def start_over(self) -> None:
        """Its worker is gone: it begins anew in another."""
        self.began = self._entered = None
        self._stage_seconds = []

    def failed(self, error: Exception, now: float) -> Outcome[Item, Any]:
        """The outcome of an item that was ended from outside."""
        seconds = 0.0 if self.began is None else now - self.began
        return Outcome(self.item, None, error, seconds, self.stage_seconds(now))
