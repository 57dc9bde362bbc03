"""What became of an item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: a result or the error that stopped it.

    Attributes:
        item: What the job was given.
        result: What the job returned; None if it failed.
        error: What it raised; None if it succeeded. Its local variables are gone.
        seconds: Wall time from the start of the item's first stage to the end of its last, waits in between included.
        stage_seconds: Wall time within each stage that the item entered, in seconds.
        traceback: The error's traceback as text, without local variables, wherever it was raised; None if the item
            succeeded, or if no code of its own raised the error (its worker died or was stopped).
    """

    item: Item
    result: Result | None
    error: Exception | None
    seconds: float
    stage_seconds: tuple[float, ...]
    traceback: str | None = None
