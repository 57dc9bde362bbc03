"""What a worker says to the process that runs it, and how results and errors travel."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from rankseg_med.executors.errors import TransferError
from rankseg_med.executors.outcome import Item, Outcome

Dumps: TypeAlias = Callable[[Any], bytes]


@dataclass(frozen=True)
class Failure:
    """An error on its way between processes.

    Attributes:
        error: Pickled; None if that cannot be done.
        text: Type and message.
        traceback: As text, without local variables.
    """

    error: bytes | None
    text: str
    traceback: str

    @classmethod
    def of(cls, error: Exception, traceback_text: str | None, dumps: Dumps) -> Failure:
        """Pack an error; one that survives no pickling becomes a ``TransferError`` that quotes it."""
        text = "".join(traceback.format_exception_only(error)).strip()
        packed: bytes | None
        try:
            packed = dumps(error)
            pickle.loads(packed)  # noqa: S301 - our own; many errors can be pickled, but not unpickled
        except Exception:  # noqa: BLE001 - pickling runs foreign code
            packed = None
        return cls(packed, text, traceback_text or text)

    def unpack(self) -> Exception:
        """The error, or what can be said of it."""
        if self.error is not None:
            try:
                error = pickle.loads(self.error)  # noqa: S301 - our own worker's
            except Exception:  # noqa: BLE001 - unpickling runs foreign code
                return TransferError(self.text)
            if isinstance(error, Exception):
                return error
        return TransferError(self.text)


@dataclass(frozen=True)
class Ready:
    """The worker has built its stages, so many of them, and waits for items."""

    depth: int


@dataclass(frozen=True)
class BuildFailed:
    """The worker could not build its stages."""

    failure: Failure


@dataclass(frozen=True)
class Entered:
    """An item enters a stage."""

    number: int
    stage: int


@dataclass(frozen=True)
class Left:
    """An item leaves the stage it was in, after so many seconds."""

    number: int
    seconds: float


@dataclass(frozen=True)
class Finished:
    """An item is through, or failed."""

    number: int
    result: bytes
    failure: Failure | None
    seconds: float
    stage_seconds: tuple[float, ...]

    @classmethod
    def of(cls, number: int, outcome: Outcome[Any, Any], dumps: Dumps) -> Finished:
        """Pack an outcome; a result that cannot be pickled becomes a failure."""
        result, failure = b"", None
        if outcome.error is not None:
            failure = Failure.of(outcome.error, outcome.traceback, dumps)
        else:
            try:
                result = dumps(outcome.result)
            except Exception as error:  # noqa: BLE001 - pickling runs foreign code
                failure = Failure.of(_untransferable("result", outcome.result, error), traceback_of(error), dumps)
        return cls(number, result, failure, outcome.seconds, outcome.stage_seconds)

    def unpack(self, item: Item) -> Outcome[Item, Any]:
        """The outcome, of the item that the worker knew by its number."""
        if self.failure is not None:
            error, text = self.failure.unpack(), self.failure.traceback
            return Outcome(item, None, error, self.seconds, self.stage_seconds, text)
        try:
            result = pickle.loads(self.result)  # noqa: S301 - our own worker's
        except Exception as error:  # noqa: BLE001 - unpickling runs foreign code
            failed = TransferError(f"the result of the last stage cannot be unpickled: {error}")
            return Outcome(item, None, failed, self.seconds, self.stage_seconds, traceback_of(error))
        return Outcome(item, result, None, self.seconds, self.stage_seconds)


@dataclass(frozen=True)
class Collapsed:
    """The worker has stopped working, though its process may still be there; the last it says."""

    reason: str


Message: TypeAlias = Ready | BuildFailed | Entered | Left | Finished | Collapsed


def pack(what: str, thing: object, dumps: Dumps) -> bytes:
    """Pickle something for a worker.

    Raises:
        TransferError: It cannot be pickled.
    """
    try:
        return dumps(thing)
    except Exception as error:
        raise _untransferable(what, thing, error) from error


def traceback_of(error: Exception) -> str:
    """An error's traceback as text, without local variables."""
    return "".join(traceback.format_exception(error))


def _untransferable(what: str, thing: object, error: Exception) -> TransferError:
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return TransferError(
        f"the {what} has to be pickled to go from one process to another, but this {kind} cannot be: {error}; "
        "pass plain data, such as paths and numbers, and functions that a module defines at its top level"
    )
