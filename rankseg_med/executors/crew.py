"""What a dispatcher needs of workers, wherever they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from rankseg_med.executors.messages import Message


class Worker(ABC):
    """A process that builds the stages once and then takes items."""

    @abstractmethod
    def give(self, number: int, packed: bytes) -> None:
        """Hand it a pickled item, under a number. Never fails: whether the worker has died, ``death`` says."""

    @abstractmethod
    def messages(self) -> list[Message]:
        """What it has said since the last call; does not wait."""

    @abstractmethod
    def death(self) -> str | None:
        """How it died, once ``messages`` has returned all that it said; None while it lives."""

    @abstractmethod
    def end(self) -> None:
        """Tell it that no more items come; does not wait."""

    @abstractmethod
    def kill(self) -> None:
        """Stop it at once, whatever it is doing."""

    @abstractmethod
    def join(self) -> None:
        """See it gone, a few seconds after ``end`` at the latest."""


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class Crew(ABC, Generic[AnyWorker]):
    """Where workers come from, and how one hears of them.

    Attributes:
        title: What a worker is called, before its number: "process".
    """

    title: str

    @abstractmethod
    def dumps(self, thing: object) -> bytes:
        """Pickle an item."""

    @abstractmethod
    def hire(self) -> AnyWorker:
        """Start a worker; does not wait for its stages to be built."""

    @abstractmethod
    def listen(self, workers: Sequence[AnyWorker], timeout_s: float) -> None:
        """Wait until one of the workers has said something or died, or the time is over."""
