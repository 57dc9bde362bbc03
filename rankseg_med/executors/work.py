"""An item on its way through the stages of a job."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from typing import Any, Generic

from rankseg_med.executors.outcome import Item, Outcome

_log = logging.getLogger(__name__)


class Work(Generic[Item]):
    """An item and how far it has come; whatever fails on the way is kept and ends its way, and its alone.

    Between two stages it holds the only reference to what the first of them returned, and gives it to the next.

    Args:
        item: What the first stage takes.
        memory_needed: Bytes that the item needs.
        on_stage: Called with the item, the stage's index and ``"this process"`` as it enters a stage; what this raises
            is not the item's.
    """

    def __init__(
        self,
        item: Item,
        memory_needed: Callable[[Item], int],
        on_stage: Callable[[Item, int, str], None] | None = None,
    ) -> None:
        self.item = item
        self._on_stage = on_stage
        self.memory_bytes = 0
        self._value: Any = item
        self._error: Exception | None = None
        self._traceback: str | None = None
        self._spans: list[tuple[float, float]] = []
        try:
            self.memory_bytes = memory_needed(item)
        except Exception as error:  # noqa: BLE001 - a study whose header cannot be read must not stop the others
            self._fail(error)

    def advance(self, stage: Callable[[Any], Any]) -> None:
        """Go through the next stage, unless one before failed. Only an ``Exception`` counts as a failure."""
        if self._error is not None:
            return
        if self._on_stage is not None:
            self._on_stage(self.item, len(self._spans), "this process")
        start = time.perf_counter()
        try:
            self._value = stage(self._take())
        except Exception as error:  # noqa: BLE001 - whatever one study raises must not stop the others
            self._fail(error)
        self._spans.append((start, time.perf_counter()))

    def outcome(self) -> Outcome[Item, Any]:
        """What became of the item; to be asked once, after the last stage."""
        seconds = self._spans[-1][1] - self._spans[0][0] if self._spans else 0.0
        stage_seconds = tuple(end - start for start, end in self._spans)
        return Outcome(self.item, self._take(), self._error, seconds, stage_seconds, self._traceback)

    def _take(self) -> Any:  # noqa: ANN401 - stages pass each other what they like
        value, self._value = self._value, None
        return value

    def _fail(self, error: Exception) -> None:
        _log.debug("%s failed", self.item, exc_info=error)
        self._traceback = "".join(traceback.format_exception(error))
        _clear_locals(error)
        self._value, self._error = None, error


def _clear_locals(error: BaseException) -> None:
    """Drop the volumes that the frames of a traceback hold, or a list of failed outcomes would fill the memory."""
    pending, seen = [error], set[int]()
    while pending:
        error = pending.pop()
        if id(error) not in seen:
            seen.add(id(error))
            traceback.clear_frames(error.__traceback__)
            pending += [link for link in (error.__cause__, error.__context__) if link is not None]
