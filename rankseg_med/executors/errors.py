"""What ends an item, or a run, other than its own code."""

from __future__ import annotations

from rankseg_med.errors import RanksegMedError


class ItemTimeout(RanksegMedError, TimeoutError):  # noqa: N818 - named like the TimeoutError it is
    """An item was longer within its stages than it may be, and was stopped."""


class WorkerDied(RanksegMedError, RuntimeError):  # noqa: N818 - says what happened
    """Two workers died with the item in hand; or workers die before they take any item."""


class TransferError(RanksegMedError, RuntimeError):
    """Something cannot be pickled, as all that goes to a worker or comes back from it has to be."""
