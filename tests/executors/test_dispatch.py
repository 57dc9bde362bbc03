"""The dispatcher with a worker that follows a script."""

import pickle
import time
from collections.abc import Sequence

from rankseg_med.executors.crew import Crew, Worker
from rankseg_med.executors.dispatch import Dispatch
from rankseg_med.executors.messages import Entered, Finished, Left, Message, Ready


class Scripted(Worker):
    def __init__(self, script: list[list[Message]]) -> None:
        self.script = script
        self.killed = False

    def give(self, number: int, packed: bytes) -> None:
        pass

    def messages(self) -> list[Message]:
        return self.script.pop(0) if self.script else []

    def death(self) -> str | None:
        return None

    def end(self) -> None:
        pass

    def kill(self) -> None:
        self.killed = True

    def join(self) -> None:
        pass


class ScriptedCrew(Crew[Scripted]):
    title = "script"

    def __init__(self, worker: Scripted) -> None:
        self.worker = worker

    def dumps(self, thing: object) -> bytes:
        return pickle.dumps(thing)

    def hire(self) -> Scripted:
        return self.worker

    def listen(self, workers: Sequence[Scripted], timeout_s: float) -> None:
        pass


def finished(number: int) -> Finished:
    return Finished(number, pickle.dumps("done"), None, 0.1, (0.1,))


def test_what_is_heard_late_has_not_taken_longer_for_that():
    """While the consumer takes its time, items 1 and 2 leave their stage; of item 2 one hears a moment later."""
    script = [
        [Ready(3)],
        [Entered(0, 0), Left(0, 0.1), Entered(1, 0), Entered(2, 0), finished(0)],
        [Left(1, 0.1), finished(1)],
        [Left(2, 0.1), finished(2)],
    ]
    worker = Scripted(script)
    dispatch = Dispatch(ScriptedCrew(worker), range(3), workers=1, timeout_s=0.2, on_stage=None)
    results = []
    for outcome in dispatch.outcomes():
        results.append((outcome.item, outcome.result))
        time.sleep(0.3)
    assert results == [(0, "done"), (1, "done"), (2, "done")]
    assert not worker.killed
