"""Stages to watch."""

import threading
from collections.abc import Callable

SECONDS = 10.0  # more than anything here takes


def same(x: object) -> object:
    return x


def wait_for(event: threading.Event) -> None:
    assert event.wait(SECONDS)


class Recorder:
    """Stages that note which items they started, in every thread."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []

    def stage(self, index: int, body: Callable[[int], object] = same) -> Callable[[int], object]:
        def run(item: int) -> object:
            self.started.append((index, item))
            body(item)
            return item

        return run

    def items_of(self, index: int) -> list[int]:
        return [item for stage, item in self.started if stage == index]
