"""What goes on in a worker, seen without one."""

import pickle
import weakref

from rankseg_med.executors.messages import BuildFailed, Entered, Finished, Left, Message, Ready
from rankseg_med.executors.serving import serve
from tests.executors import builds


class Volume:
    """Something large that can be watched."""


def produce(_: object) -> Volume:
    return Volume()


def consume(volume: Volume) -> bool:
    mine = weakref.ref(volume)
    del volume
    return mine() is None


def volumes() -> tuple:
    return produce, consume


def said(build: object, items: list) -> list[Message]:
    messages: list[Message] = []
    packed = [(number, pickle.dumps(item)) for number, item in enumerate(items)]
    serve(pickle.dumps(build), packed, messages.append, pickle.dumps)
    return messages


def test_a_worker_says_what_it_does():
    ready, *messages, finished = said(builds.arithmetic, [20])
    assert ready == Ready(2)
    assert [type(message) for message in messages] == [Entered, Left, Entered, Left]
    assert [message.stage for message in messages if isinstance(message, Entered)] == [0, 1]
    assert isinstance(finished, Finished)
    assert (finished.unpack("mine").item, finished.unpack("mine").result) == ("mine", 41)


def test_stages_can_free_what_they_are_given():
    results = [message.unpack(0).result for message in said(volumes, [1, 2, 3]) if isinstance(message, Finished)]
    assert results == [True] * 3


def test_what_build_raises_is_said():
    (message,) = said(builds.failing, [1])
    assert isinstance(message, BuildFailed)
    assert repr(message.failure.unpack()) == "OSError('no such checkpoint')"


def test_a_result_that_cannot_be_unpickled_is_a_failure():
    finished = Finished(0, b"not a pickle", None, 1.0, (1.0,))
    assert "cannot be unpickled" in str(finished.unpack(0).error)
