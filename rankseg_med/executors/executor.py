"""What every executor is: something that runs a job's stages on items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from rankseg_med.executors.outcome import Outcome

OnStage = Callable[[Any, int, str], None]
"""Called as an item enters a stage, with the item, the stage's index and the worker's name."""

ItemT = TypeVar("ItemT")
_AnyItem = TypeVar("_AnyItem", contravariant=True)


@runtime_checkable
class StagedWork(Protocol[_AnyItem]):
    """What is done with each item, in stages."""

    def build(self) -> Sequence[Callable[[Any], Any]]:
        """Make the stages, once in every worker; the first takes the item, each other what the one before returned."""
        ...

    def memory_needed(self, case: _AnyItem, /) -> int:
        """Bytes that an item needs at its worst moment."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Runs stages on items: overlapped in this process, in processes of their own, or on a Ray cluster."""

    def __call__(
        self, work: StagedWork[ItemT], items: Iterable[ItemT], on_stage: OnStage | None
    ) -> Iterator[Outcome[ItemT, Any]]:
        """An outcome per item, as each finishes; no more items are drawn than can be worked on."""
        ...
